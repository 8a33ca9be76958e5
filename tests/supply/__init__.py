"""Catalogues as clouds write them, wrong ones, and none: every row is an offer or a refusal with a reason."""
