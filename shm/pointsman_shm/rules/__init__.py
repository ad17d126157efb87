"""Pure rules of placement: hash, languages, modules, eligibility, pools, load."""
