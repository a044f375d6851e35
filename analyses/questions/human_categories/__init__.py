"""Human categories in a model: do its states group words as people do, and how typical are members?"""
