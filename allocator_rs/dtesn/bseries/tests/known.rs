//! Known coefficients, orders of methods, composition and modified equations.

#![allow(clippy::unwrap_used, reason = "a test says what it expects by panicking")]

use bseries::{
    Forest, MAX_ORDER, NAMES, Number, Series, SeriesError, TREE_COUNTS, Tableau, compose, exact, forest, modified,
    scaled, tableau,
};
use trees::Tree;

fn number(levels: &[u32]) -> usize {
    forest().number(&Tree::new(levels).unwrap()).unwrap()
}

fn weights(name: &str, order: usize) -> Vec<Number> {
    Series::new(&tableau(name).unwrap(), order).unwrap().weights().to_vec()
}

#[test]
fn orders_of_the_methods_are_exact() {
    let orders = [1, 2, 2, 2, 3, 3, 3, 4, 4, 5, 4, 3, 5];
    for (name, order) in NAMES.into_iter().zip(orders) {
        let series = Series::new(&tableau(name).unwrap(), 8).unwrap();
        assert_eq!(series.method_order(), order, "{name}");
        assert_eq!(series.principal_error().unwrap().len(), TREE_COUNTS[order]);
        assert!(series.principal_error_norm().unwrap() > 0.0);
    }
}

#[test]
fn classical_runge_kutta_on_the_tall_and_the_bushy_tree() {
    let series = Series::new(&tableau("rk4").unwrap(), 5).unwrap();
    assert!(series.residuals()[..8].iter().all(|residual| *residual == Number::zero()));
    let (tall, bushy) = (number(&[1, 2, 3, 4, 5]), number(&[1, 2, 2, 2, 2]));
    assert_eq!(series.weights()[tall], Number::zero());
    assert_eq!(series.weights()[bushy], Number::ratio(5, 24));
    let exact = exact(5).unwrap();
    assert_eq!((&exact[tall], &exact[bushy]), (&Number::ratio(1, 120), &Number::ratio(1, 5)));
    assert_eq!(series.coefficients()[bushy], Number::ratio(5, 24 * 24));
}

#[test]
fn the_classes_orders_have_the_trees_of_the_design() {
    let counts = [4, 6, 8].map(|order| Forest::count(order).unwrap());
    assert_eq!(counts, [8, 37, 200]);
}

#[test]
fn elementary_weights_are_the_sums_that_define_them() {
    // Butcher: Phi of [1, 2, 3, 2] is sum over i, j of b_i a_ij c_j c_i.
    for name in NAMES {
        let method = tableau(name).unwrap();
        let stages = method.stages();
        let mut sum = Number::zero();
        for i in 0..stages {
            for j in 0..stages {
                let product = method.b()[i].times(&method.a()[i][j]).times(&method.c()[j]).times(&method.c()[i]);
                sum = sum.plus(&product);
            }
        }
        assert_eq!(weights(name, 4)[number(&[1, 2, 3, 2])], sum, "{name}");
    }
}

#[test]
fn integers_beyond_128_bits_give_the_same() {
    // Of two equal stages of a method with huge denominators the sum is one stage's.
    let tiny = Number::parse("1/1000000007").unwrap();
    let huge = Tableau::new(&[vec![tiny.clone()]], &[Number::one()], None).unwrap();
    let series = Series::new(&huge, 10).unwrap();
    let chain: Vec<u32> = (1..=10).collect();
    let power = (0..9).fold(Number::one(), |product, _| product.times(&tiny));
    assert_eq!(series.weights()[number(&chain)], power);
}

#[test]
fn two_half_steps_of_euler_are_a_method_of_two_stages() {
    let half = Number::ratio(1, 2);
    let step = scaled(&weights("euler", 8), &half, 8).unwrap();
    let twice = Tableau::new(&[vec![], vec![half.clone()]], &[half.clone(), half], None).unwrap();
    assert_eq!(compose(&step, &step, 8).unwrap(), Series::new(&twice, 8).unwrap().weights());
}

#[test]
fn the_exact_flow_composes_with_itself() {
    let third = scaled(&exact(8).unwrap(), &Number::ratio(1, 3), 8).unwrap();
    let rest = scaled(&exact(8).unwrap(), &Number::ratio(2, 3), 8).unwrap();
    assert_eq!(compose(&third, &rest, 8).unwrap(), exact(8).unwrap());
}

#[test]
fn composition_is_associative_and_not_commutative() {
    let [a, b, c] = ["rk4", "gauss4", "kutta3"].map(|name| weights(name, 6));
    let left = compose(&compose(&a, &b, 6).unwrap(), &c, 6).unwrap();
    let right = compose(&a, &compose(&b, &c, 6).unwrap(), 6).unwrap();
    assert_eq!(left, right);
    assert_ne!(compose(&a, &c, 6).unwrap(), compose(&c, &a, 6).unwrap());
}

#[test]
fn the_modified_equation_of_euler_is_the_published_one() {
    // Hairer, Lubich, Wanner, IX.1: f - h/2 f'f + h^2 (f''(f,f)/12 + f'f'f/3) - …
    let found = modified(&weights("euler", 8), 8).unwrap();
    assert_eq!(found[number(&[1])], Number::one());
    assert_eq!(found[number(&[1, 2])], Number::ratio(-1, 2));
    assert_eq!(found[number(&[1, 2, 2])], Number::ratio(1, 6));
    assert_eq!(found[number(&[1, 2, 3])], Number::ratio(1, 3));
    assert_eq!(found[number(&[1, 2, 2, 2])], Number::zero());
}

#[test]
fn the_modified_equation_begins_with_the_error() {
    for name in NAMES {
        let series = Series::new(&tableau(name).unwrap(), 6).unwrap();
        let found = modified(series.weights(), 6).unwrap();
        let order = series.method_order();
        let first: usize = TREE_COUNTS[..order].iter().sum();
        assert!(found[1..first].iter().all(|value| *value == Number::zero()), "{name}");
        let leading = first..first + TREE_COUNTS[order];
        assert_eq!(found[leading.clone()], series.residuals()[leading], "{name}");
    }
    let flow = modified(&exact(8).unwrap(), 8).unwrap();
    assert_eq!(flow[0], Number::one());
    assert!(flow[1..].iter().all(|value| *value == Number::zero()));
}

#[test]
fn numbers_are_read_as_they_are_written() {
    for text in ["0", "-3/7", "1/4-1/6*sqrt(3)", "0+2*sqrt(6)", "-1/2+1/3*sqrt(15)"] {
        assert_eq!(Number::parse(text).unwrap().to_string(), text);
    }
    assert_eq!(Number::parse(" 2/4 ").unwrap(), Number::ratio(1, 2));
    assert_eq!(Number::parse("1*sqrt(2)").unwrap(), Number::surd(0, 1, 1, 2));
    for text in ["", "1/0", "1/-2", "1.5", "a", "1*sqrt(4)", "1*sqrt(8)", "1+sqrt(3)", "nan", "1/2/3", &"1".repeat(300)]
    {
        assert!(matches!(Number::parse(text), Err(SeriesError::Number { .. })), "{text}");
    }
    assert!((Number::parse("1/4-1/6*sqrt(3)").unwrap().to_f64() - (0.25 - 3_f64.sqrt() / 6.0)).abs() < 1e-15);
}

#[test]
fn tableaus_that_are_not_consistent_are_refused() {
    let (half, one) = (Number::ratio(1, 2), Number::one());
    let weights = Tableau::new(&[vec![], vec![one.clone()]], &[half.clone(), one.clone()], None);
    assert!(matches!(weights, Err(SeriesError::Inconsistent { .. })));
    let rows = Tableau::new(&[vec![]], std::slice::from_ref(&one), Some(std::slice::from_ref(&half)));
    assert_eq!(rows.unwrap_err().to_string(), "the tableau is not consistent: the sum of row 0 of a is 0, not 1/2");
    assert!(matches!(Tableau::new(&[], &[], None), Err(SeriesError::Stages { stages: 0 })));
    assert!(matches!(Tableau::new(&[], std::slice::from_ref(&one), None), Err(SeriesError::Shape { .. })));
    assert!(matches!(
        Tableau::new(&[vec![Number::zero(); 2]], std::slice::from_ref(&one), None),
        Err(SeriesError::Shape { .. })
    ));
    let roots = [Number::surd(1, 1, 2, 2), Number::surd(1, -1, 2, 3)];
    assert!(matches!(Tableau::new(&[vec![], vec![]], &roots, None), Err(SeriesError::Roots { one: 2, other: 3 })));
    assert!(matches!(tableau("rk5"), Err(SeriesError::Unknown { .. })));
}

#[test]
fn orders_without_end_are_refused_with_their_count() {
    let rk4 = tableau("rk4").unwrap();
    assert!(Series::new(&rk4, MAX_ORDER).is_ok());
    let refused = Series::new(&rk4, 11).unwrap_err();
    assert_eq!(refused.to_string(), "order 11 has 1842 trees; orders 1 to 10 are computed");
    assert!(Series::new(&rk4, 0).is_err() && Series::new(&rk4, usize::MAX).is_err());
    assert!(matches!(modified(&weights("rk4", 9), 9), Err(SeriesError::Order { order: 9, limit: 8 })));
    assert!(matches!(modified(&weights("rk4", 3), 4), Err(SeriesError::Coefficients { .. })));
}
