//! Every order in which several actors' steps can happen.
//!
//! An actor is a number of atomic steps that happen in its own order; an order of several actors is
//! a list of actor numbers, each as often as it has steps. Small spaces are enumerated to the last
//! order; of big ones a sample is drawn that the seed alone decides, so a failure can be repeated.

/// How many orders there are of actors with these numbers of steps.
///
/// # Example
///
/// ```
/// use smart_cache_tests::harness::count;
///
/// assert_eq!(count(&[3, 2]), 10);
/// assert_eq!(count(&[3, 3, 2]), 560);
/// ```
#[must_use]
pub fn count(steps: &[usize]) -> u128 {
    let mut placed: u128 = 0;
    let mut orders: u128 = 1;
    for &own in steps {
        // Choose the places of this actor's steps among all that are placed by then. Each
        // intermediate product is itself a binomial coefficient, so the division is exact.
        for step in 1..=own as u128 {
            placed += 1;
            orders = orders * placed / step;
        }
    }
    orders
}

/// Every order of actors with these numbers of steps, each once, in lexicographic order.
///
/// # Example
///
/// ```
/// use smart_cache_tests::harness::orders;
///
/// let all: Vec<_> = orders(&[2, 1]).collect();
/// assert_eq!(all, [[0, 0, 1], [0, 1, 0], [1, 0, 0]]);
/// ```
pub fn orders(steps: &[usize]) -> impl Iterator<Item = Vec<usize>> + use<> {
    std::iter::successors(Some(first(steps)), |order| following(order))
}

/// `size` orders drawn by the seed, each as likely as any other; the same one may come twice.
#[must_use]
pub fn sample(steps: &[usize], size: usize, seed: u64) -> Vec<Vec<usize>> {
    let mut random = SplitMix(seed);
    let draw = |_| {
        let mut order = first(steps);
        for last in (1..order.len()).rev() {
            order.swap(last, random.below(last + 1));
        }
        order
    };
    (0..size).map(draw).collect()
}

/// Every order when there are at most `limit`, otherwise a sample of that size.
#[must_use]
pub fn orders_or_sample(steps: &[usize], limit: usize, seed: u64) -> Vec<Vec<usize>> {
    if count(steps) <= limit as u128 {
        orders(steps).collect()
    } else {
        sample(steps, limit, seed)
    }
}

/// The actors one after the other.
fn first(steps: &[usize]) -> Vec<usize> {
    let own = |(actor, &own): (usize, &usize)| std::iter::repeat_n(actor, own);
    steps.iter().enumerate().flat_map(own).collect()
}

/// The next order of the same steps: the longest falling tail is turned round, and the step before
/// it takes the smallest one there that is greater.
fn following(order: &[usize]) -> Option<Vec<usize>> {
    let pivot = order.windows(2).rposition(|pair| pair[0] < pair[1])?;
    let successor = order.iter().rposition(|step| *step > order[pivot])?;
    let mut next = order.to_vec();
    next.swap(pivot, successor);
    next[pivot + 1..].reverse();
    Some(next)
}

/// A tiny generator with good statistics: enough for shuffling, and the same on every machine.
struct SplitMix(u64);

impl SplitMix {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`; the bias of the multiplication is below 2^-50 for our bounds.
    fn below(&mut self, bound: usize) -> usize {
        ((u128::from(self.next()) * bound as u128) >> 64) as usize
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn three_and_two_steps_have_ten_orders() {
        let all: BTreeSet<_> = orders(&[3, 2]).collect();
        assert_eq!(all.len(), 10);
        assert!(
            all.iter()
                .all(|order| order.iter().filter(|actor| **actor == 0).count() == 3)
        );
    }

    #[test]
    fn the_enumeration_has_as_many_orders_as_were_counted() {
        for steps in [&[1][..], &[2, 2], &[3, 3, 2], &[0, 2], &[2, 1, 1, 1]] {
            let all: BTreeSet<_> = orders(steps).collect();
            assert_eq!(orders(steps).count() as u128, count(steps));
            assert_eq!(all.len() as u128, count(steps));
        }
    }

    #[test]
    fn the_same_seed_draws_the_same_sample() {
        assert_eq!(sample(&[4, 4, 3], 20, 7), sample(&[4, 4, 3], 20, 7));
        assert_ne!(sample(&[4, 4, 3], 20, 7), sample(&[4, 4, 3], 20, 8));
    }

    #[test]
    fn a_sample_keeps_the_number_of_each_actors_steps() {
        for mut order in sample(&[4, 0, 3], 50, 1) {
            order.sort_unstable();
            assert_eq!(order, [0, 0, 0, 0, 2, 2, 2]);
        }
    }

    #[test]
    fn a_sample_of_a_small_space_reaches_all_of_it() {
        let drawn: BTreeSet<_> = sample(&[3, 2], 500, 3).into_iter().collect();
        assert_eq!(drawn.len(), 10);
    }
}
