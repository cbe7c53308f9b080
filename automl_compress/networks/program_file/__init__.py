"""Networks as programs of torch.export (`.pt2`), read as data: nothing of a file is ever run."""
