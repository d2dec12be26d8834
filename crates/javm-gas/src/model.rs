//! [`GasModel`]: the choice between ways of counting, and its names.

use core::{fmt, str::FromStr};

/// How the cost of a basic block is counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum GasModel {
    /// The cycles that a simulated out-of-order processor needs for it (Gray Paper 0.8).
    #[default]
    Pipeline,
    /// One per instruction (Gray Paper 0.7); a block that runs off the end of the code pays for the `trap`
    /// that it meets there.
    PerInstruction,
}

impl GasModel {
    /// Every model.
    pub const ALL: [Self; 2] = [Self::Pipeline, Self::PerInstruction];

    /// The name: `pipeline` or `per-instruction`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pipeline => "pipeline",
            Self::PerInstruction => "per-instruction",
        }
    }
}

impl fmt::Display for GasModel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for GasModel {
    type Err = UnknownGasModel;

    fn from_str(name: &str) -> Result<Self, UnknownGasModel> {
        Self::ALL.into_iter().find(|model| model.name() == name).ok_or(UnknownGasModel)
    }
}

/// No gas model has this name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownGasModel;

impl fmt::Display for UnknownGasModel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("unknown gas model; there are")?;
        for (n, model) in GasModel::ALL.iter().enumerate() {
            write!(f, "{} `{model}`", if n == 0 { "" } else { " and" })?;
        }
        Ok(())
    }
}

impl core::error::Error for UnknownGasModel {}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn names_round_trip() {
        for model in GasModel::ALL {
            assert_eq!(model.to_string().parse(), Ok(model));
        }
        assert_eq!("Pipeline".parse::<GasModel>(), Err(UnknownGasModel));
        assert_eq!(
            UnknownGasModel.to_string(),
            "unknown gas model; there are `pipeline` and `per-instruction`"
        );
        assert_eq!(GasModel::default(), GasModel::Pipeline);
    }
}
