"""From a merged model to one that computes in 8 bits: converted, pruned, quantised."""
