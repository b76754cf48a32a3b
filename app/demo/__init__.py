"""A model set that trains in seconds on scikit-learn's digits, for people who want to see mergefront work before they bring their own."""
