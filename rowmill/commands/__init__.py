"""The commands of `rowmill`: each translates its options, calls the client and shows the answer."""
