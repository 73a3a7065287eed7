//! Switches that a test turns over HTTP.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Puts the fields of `patch` over `current`.
pub(crate) fn merged<C>(current: &C, patch: &Value) -> Result<C, String>
where
    C: Serialize + for<'de> Deserialize<'de>,
{
    let fields = patch.as_object().ok_or("the body must be a JSON object")?;
    let mut value = serde_json::to_value(current).map_err(|error| error.to_string())?;
    for (name, field) in fields {
        value[name.as_str()] = field.clone();
    }
    serde_json::from_value(value).map_err(|error| error.to_string())
}
