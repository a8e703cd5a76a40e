"""The suite for drift: a small Llama, changes of it, a pool of sampled requests for each, and what the tests see of them."""
