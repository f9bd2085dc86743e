"""The example company of `router demo`: its web site, its telephone and its inbox."""
