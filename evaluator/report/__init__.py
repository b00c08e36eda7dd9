"""Tables and pictures of a measured study: one self-contained HTML page, and LaTeX and CSV tables."""
