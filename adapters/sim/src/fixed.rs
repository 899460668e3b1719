//! Logarithms and powers in fixed point (32 bits behind the point), so that every machine draws the same: the last bit of
//! a library's floating-point logarithm differs between platforms.

use std::sync::LazyLock;

/// log2(e).
const LOG2_E: i128 = 6_196_328_019;
/// One, with 62 bits behind the point.
const ONE_62: u128 = 1 << 62;
/// 2^(1/2), 2^(1/4), … with 62 bits behind the point.
const ROOTS: [u128; 32] = {
    let mut roots = [0; 32];
    let (mut last, mut i) = (2 * ONE_62, 0);
    while i < 32 {
        last = (last << 62).isqrt();
        roots[i] = last;
        i += 1;
    }
    roots
};

/// The binary logarithm of a number of at least 1.
pub fn log2(x: u64) -> i64 {
    let zeros = x.max(1).leading_zeros();
    let mut rest = u128::from(x.max(1)) << zeros;
    let mut bits = i64::from(63 - zeros);
    for _ in 0..32 {
        rest = (rest * rest) >> 63;
        bits <<= 1;
        if rest >> 64 != 0 {
            bits |= 1;
            rest >>= 1;
        }
    }
    bits
}

/// `x` times 2 to the power of `power`; saturates.
pub fn scaled(x: u64, power: i64) -> u64 {
    let (whole, part) = (power >> 32, power as u32);
    let mut factor = ONE_62;
    for (i, root) in ROOTS.iter().enumerate() {
        if part >> (31 - i) & 1 == 1 {
            factor = (factor * root) >> 62;
        }
    }
    let product = u128::from(x) * factor;
    match whole {
        ..=-66 => 0,
        -65..=62 => u64::try_from(product >> (62 - whole).min(127)).unwrap_or(u64::MAX),
        _ => {
            if x == 0 {
                0
            } else {
                u64::MAX
            }
        }
    }
}

/// −ln(1 − u / 2³²): the exponential distribution's quantile.
pub fn exponential(u: u32) -> u64 {
    let missing = 32 * (1i64 << 32) - log2((1 << 32) - u64::from(u));
    // ln x = log2 x / log2 e.
    ((i128::from(missing) << 32) / LOG2_E) as u64
}

/// Steps per unit of the normal distribution's table, and how far it goes.
const NORMAL_STEPS: i64 = 512;
const NORMAL_MOST: i64 = 7;

/// The part of the half-normal distribution below n / 512, of 2³¹.
static NORMAL: LazyLock<Vec<u64>> = LazyLock::new(|| {
    // exp(-z² / 2), by the trapezoid rule.
    let density = |n: i64| {
        let square = (n as i128 * n as i128) << 32;
        let power = -(square * LOG2_E / (2 * i128::from(NORMAL_STEPS * NORMAL_STEPS))) >> 32;
        u128::from(scaled(1 << 62, power as i64))
    };
    let mut sums = vec![0u128];
    for n in 0..NORMAL_MOST * NORMAL_STEPS {
        let area = (density(n) + density(n + 1)) / 2;
        sums.push(sums[n as usize] + area);
    }
    let all = sums[sums.len() - 1];
    sums.iter().map(|sum| (sum * (1 << 31) / all) as u64).collect()
});

/// The standard normal distribution's quantile at (u + 1/2) / 2³².
pub fn normal(u: u32) -> i64 {
    // The upper half, from the middle outwards, and its mirror image.
    let outwards = if u >> 31 == 1 { u - (1 << 31) } else { (1 << 31) - 1 - u };
    let at = NORMAL.partition_point(|below| *below <= u64::from(outwards)).clamp(1, NORMAL.len() - 1);
    let (low, high) = (NORMAL[at - 1], NORMAL[at]);
    let part = ((2 * (u64::from(outwards) - low) + 1) << 31).checked_div(high - low).unwrap_or(0);
    let z = ((((at - 1) as u64) << 32) + part.min(1 << 32)) / NORMAL_STEPS as u64;
    if u >> 31 == 1 { z as i64 } else { -(z as i64) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: f64 = (1u64 << 32) as f64;

    #[test]
    fn logarithms_and_powers_are_those_of_mathematics() {
        for x in [1, 2, 3, 10, 12_345, u64::MAX / 3, u64::MAX] {
            assert!((log2(x) as f64 / ONE - (x as f64).log2()).abs() < 1e-8, "{x}");
        }
        for power in [-40.5, -3.25, -0.1, 0.0, 0.7, 1.0, 9.99] {
            let exact = 1e9 * 2f64.powf(power);
            let got = scaled(1_000_000_000, (power * ONE) as i64) as f64;
            assert!((got - exact).abs() <= 1.0 + exact * 1e-8, "{power}: {got} {exact}");
        }
        assert_eq!((scaled(1, 70 << 32), scaled(0, 70 << 32), scaled(u64::MAX, -80 << 32)), (u64::MAX, 0, 0));
        for u in [0u32, 1, 1 << 20, 1 << 31, u32::MAX] {
            let exact = -(1.0 - f64::from(u) / ONE).ln();
            assert!((exponential(u) as f64 / ONE - exact).abs() < 1e-7, "{u}");
        }
    }

    #[test]
    fn normal_quantiles_are_those_of_the_tables() {
        for (percent, z) in
            [(0.5, 0.0), (0.841_344_75, 1.0), (0.975, 1.959_964), (0.999, 3.090_232), (0.999_999, 4.753_424)]
        {
            for (u, z) in [(percent, z), (1.0 - percent, -z)] {
                let got = normal((u * ONE) as u32) as f64 / ONE;
                assert!((got - z).abs() < 1e-3, "{u}: {got}");
            }
        }
        assert_eq!(normal(u32::MAX), -normal(0));
        assert!((6.0..7.0).contains(&(normal(u32::MAX) as f64 / ONE)));
    }
}
