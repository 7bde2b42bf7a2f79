"""The page's requests, a module for each part of the page."""
