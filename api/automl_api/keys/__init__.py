"""Who may do what: keys with scopes, accounts, and how much each may ask for."""
