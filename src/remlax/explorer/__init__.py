"""An explorer of a fit or of a pooled model: one page of HTML that needs no server."""
