//! Values of a parameter in mergekit's recipes: a number, numbers that are interpolated over a slice's layers, or either of them for
//! tensors whose names match a filter.

use serde_json::Value;

/// The value of a parameter in a recipe.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Setting(Vec<Case>);

/// Numbers for the tensors whose names contain the filter.
#[derive(Debug, Clone, PartialEq)]
struct Case {
    filter: Option<String>,
    /// A number, or points to interpolate between from a slice's first layer to its last one.
    numbers: Vec<f64>,
}

impl Setting {
    /// Reads a value of `parameters`.
    ///
    /// # Errors
    /// When it is not one of the forms that mergekit reads.
    pub fn read(value: &Value) -> Result<Self, String> {
        let unknown = || {
            format!(
                "scale is {value}; it must be a number, a list of numbers, or objects with value and filter"
            )
        };
        let case = |value: &Value| {
            let filter = match &value["filter"] {
                Value::Null => None,
                Value::String(filter) => Some(filter.clone()),
                other => return Err(format!("filter is {other}; it must be a text")),
            };
            let numbers = &value["value"];
            let numbers = match numbers.is_null() {
                true => return Err(format!("in scale {value}, value is missing")),
                false => numbers_of(numbers).ok_or_else(unknown)?,
            };
            Ok(Case { filter, numbers })
        };
        match value {
            Value::Object(_) => Ok(Self(vec![case(value)?])),
            Value::Array(all) if !all.is_empty() && all.iter().all(Value::is_object) => {
                Ok(Self(all.iter().map(case).collect::<Result<_, _>>()?))
            }
            _ => Ok(Self(vec![Case {
                filter: None,
                numbers: numbers_of(value).ok_or_else(unknown)?,
            }])),
        }
    }

    /// Returns the value for a tensor of this name, at the share `t` of the way from the slice's first layer to its last one. The
    /// first filter that matches decides.
    pub fn value(&self, name: &str, t: f64) -> Option<f64> {
        let fits = |case: &&Case| match &case.filter {
            None => true,
            Some(filter) => filter == "*" || name.contains(filter.as_str()),
        };
        let numbers = &self.0.iter().find(fits)?.numbers;
        let last = numbers.len().checked_sub(1)?;
        let at = t * last as f64;
        let i = (at as usize).min(last); // t lies between 0 and 1
        let part = at - i as f64;
        Some((1.0 - part) * numbers[i] + part * numbers[last.min(i + 1)])
    }
}

/// Reads a number or a list of numbers. Like mergekit, accepts texts and truth values as numbers.
fn numbers_of(value: &Value) -> Option<Vec<f64>> {
    let number = |value: &Value| {
        let number = match value {
            Value::String(text) => text.trim().parse().ok(),
            Value::Bool(b) => Some(f64::from(u8::from(*b))),
            other => other.as_f64(),
        };
        number.filter(|x: &f64| x.is_finite())
    };
    match value {
        Value::Array(all) => all.iter().map(number).collect(),
        one => Some(vec![number(one)?]),
    }
}
