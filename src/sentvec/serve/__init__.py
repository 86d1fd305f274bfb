"""The HTTP server: requests in, vectors, scores and passages out; one engine under several surfaces."""
