"""What is measured is what was asked for: figures, their page, and the compiled build, on small runs."""
