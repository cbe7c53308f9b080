"""The layer-by-layer decision process: observations, rewards, Gymnasium environments."""
