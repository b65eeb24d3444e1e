"""Trains and publishes every example model: `python -m examples.train_all`."""

from examples import training_command
from examples.house_prices.train import train as train_house_prices
from examples.line.train import train as train_line
from examples.movies.train import train as train_movies
from examples.petrol.train import train as train_petrol


def main() -> None:
    """Train the models, the quickest first."""
    training_command.run(
        train_line, train_petrol, train_house_prices, train_movies, description=__doc__ or ""
    )


if __name__ == "__main__":
    main()
