"""The schedule that reacts to a plateau."""

from rdbench.codecs.inr.recipes.plateau import Plateau, PlateauRule


def test_the_rate_falls_after_patience_and_the_best_state_stays() -> None:
    plateau = Plateau(PlateauRule(start=1.0, patience=2, factor=0.5, stop=0.2), 10.0, "start")
    rates = []
    for number, loss in enumerate([8.0, 9.0, 9.0, 7.0, 9.0, 9.0, 9.0, 9.0]):
        plateau.observe(loss, f"step {number}")
        rates.append(plateau.lr)
        assert plateau.ended == (number == 7)
    assert rates == [1.0, 1.0, 0.5, 0.5, 0.5, 0.25, 0.25, 0.125]
    assert (plateau.best, plateau.loss) == ("step 3", 7.0)
