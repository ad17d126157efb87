"""The scripts in pure Python, one module for each folder of them."""
