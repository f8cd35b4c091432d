"""An export behind HTTP: TF Serving's REST, requests answered together, and a page to try it."""
