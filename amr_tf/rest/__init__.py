"""A web page and TF Serving's JSON API around one exported model, on one's own machine."""
