"""The zoo: small agents with one seeded bug each. The crash lab must find each and name its cause; see __main__.py."""
