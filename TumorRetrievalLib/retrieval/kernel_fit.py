"""Where the frequencies in `kernel_features` come from: few cosines that follow a Gaussian kernel well.

`python -m TumorRetrievalLib.retrieval.kernel_fit` fits them again and prints both tables. Random Fourier features
(Rahimi and Recht 2007) converge slowly: with 20 frequencies their kernel is wrong by up to 0.5 between two points of
a brain. Frequencies and weights fitted to the kernel, over the differences that really occur, are far better.
"""

import numpy as np

from TumorRetrievalLib.retrieval.kernel_features import (
    EXTENT_WIDTH,
    POSITION_WIDTH_MM,
    gaussian_kernel,
)

BRAIN_SEMI_AXES_MM = np.array([72.0, 90.0, 76.0])  # of the ellipsoid around the MNI152 brain
LARGEST_LOG_RATIO = 3.4  # a box of 4 mm beside one of 120 mm


def position_differences(count: int, rng: np.random.Generator) -> np.ndarray:
    """Differences between points of the brain, near and far about equally often; mm, shape (count, 3)."""
    direction = rng.normal(size=(count, 3))
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    return direction * 2 * BRAIN_SEMI_AXES_MM * np.sqrt(rng.random((count, 1)))


def extent_differences(count: int, rng: np.random.Generator) -> np.ndarray:
    """Differences between the log edges of boxes: any ratio of sizes, some change of proportions; shape (count, 3)."""
    shapes = -np.sort(-rng.normal(0.0, 0.3, (2, count, 3)), axis=-1)
    return rng.uniform(-LARGEST_LOG_RATIO, LARGEST_LOG_RATIO, (count, 1)) + shapes[0] - shapes[1]


def fit(samples: np.ndarray, count: int, width: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Frequencies and weights whose sum of cosines is closest to the Gaussian kernel.

    :param samples: differences at which the kernel has to hold, shape (n, 3).
    :returns: frequencies (radians per unit, shape (count, 3)) and weights (shape (count,), > 0, sum 1).
    """
    from scipy.optimize import minimize

    scaled = samples / width
    target = gaussian_kernel(samples, width)

    def loss(parameters, power):
        frequencies, logits = parameters[: 3 * count].reshape(count, 3), parameters[3 * count :]
        weights = np.exp(logits - logits.max())
        weights /= weights.sum()
        phase = scaled @ frequencies.T
        cosines = np.cos(phase)
        error = cosines @ weights - target
        slope = power * np.abs(error) ** (power - 1) * np.sign(error) / len(error)
        of_weights = cosines.T @ slope
        of_frequencies = -weights[:, None] * ((np.sin(phase) * slope[:, None]).T @ scaled)
        of_logits = weights * (of_weights - weights @ of_weights)
        return np.mean(np.abs(error) ** power) * 1e3, np.concatenate([of_frequencies.ravel(), of_logits]) * 1e3

    rng = np.random.default_rng(seed)
    parameters = np.concatenate([rng.normal(size=3 * count), np.zeros(count)])
    for power in (2, 4, 8):  # towards the worst case, one step at a time
        parameters = minimize(loss, parameters, (power,), "L-BFGS-B", jac=True, options={"maxiter": 400}).x
    weights = np.exp(parameters[3 * count :])
    return parameters[: 3 * count].reshape(count, 3) / width, weights / weights.sum()


def best_fit(differences, count: int, width: float, seeds: int) -> tuple[np.ndarray, np.ndarray, int, float]:
    """The fit with the smallest worst error among several starts: frequencies, weights, seed, worst error."""
    train = differences(10_000, np.random.default_rng(1))
    test = differences(200_000, np.random.default_rng(2))
    target = gaussian_kernel(test, width)
    best = None
    for seed in range(seeds):
        frequencies, weights = fit(train, count, width, seed)
        worst = float(np.abs(np.cos(test @ frequencies.T) @ weights - target).max())
        if best is None or worst < best[3]:
            best = frequencies, weights, seed, worst
    return best


def main():
    tasks = (
        ("POSITION", position_differences, 24, POSITION_WIDTH_MM, 5),
        ("EXTENT", extent_differences, 8, EXTENT_WIDTH, 3),
    )
    for name, differences, count, width, digits in tasks:
        frequencies, weights, seed, worst = best_fit(differences, count, width, seeds=6)
        print(f"{name}: seed {seed}, worst error {worst:.3f}")
        for i in np.argsort(-weights):
            numbers = ", ".join(f"{value:.{digits}f}" for value in frequencies[i])
            print(f"    ({weights[i]:.4f}, {numbers}),")


if __name__ == "__main__":
    main()
