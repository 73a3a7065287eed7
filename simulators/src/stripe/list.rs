//! Lists (newest first, cursors, `created` ranges) and `expand[]`.

use serde_json::{Value, json};

use super::error::ApiError;
use super::params::Params;
use super::world::{World, number, text};

const LARGEST: i64 = 100;

/// One page of the objects of `kind` that pass `keep`.
pub(super) fn page(
    world: &World,
    kind: &str,
    url: &str,
    params: &Params,
    keep: impl Fn(&Value) -> bool,
) -> Result<Value, ApiError> {
    let limit = limit_of(params)?;
    let created = created_range(params)?;
    let all: Vec<&Value> = world
        .newest_first(kind)
        .filter(|object| object["deleted"] != true && created(number(object, "created")) && keep(object))
        .collect();
    let place = |param: &str| -> Result<Option<usize>, ApiError> {
        let Some(id) = params.text(param) else { return Ok(None) };
        let found = all.iter().position(|object| object["id"] == id);
        found.map(Some).ok_or_else(|| ApiError::no_such(kind, id, param))
    };
    let (data, has_more) = match (place("starting_after")?, place("ending_before")?) {
        (Some(_), Some(_)) => {
            return Err(ApiError::invalid(
                "ending_before",
                "Received both starting_after and ending_before parameters. Please pass in only one.",
            ));
        }
        (None, Some(before)) => {
            let first = before.saturating_sub(limit);
            (all.get(first..before).unwrap_or_default(), first > 0)
        }
        (after, None) => {
            let first = after.map_or(0, |index| index + 1);
            let last = all.len().min(first + limit);
            (all.get(first..last).unwrap_or_default(), last < all.len())
        }
    };
    Ok(json!({ "object": "list", "data": data, "has_more": has_more, "url": url }))
}

fn limit_of(params: &Params) -> Result<usize, ApiError> {
    let limit = params.integer("limit")?.unwrap_or(10);
    if !(1..=LARGEST).contains(&limit) {
        let words = if limit < 1 {
            "This value must be greater than or equal to 1."
        } else {
            "This value must be less than or equal to 100."
        };
        return Err(ApiError::invalid("limit", words).code("parameter_invalid_integer"));
    }
    Ok(usize::try_from(limit).unwrap_or(10))
}

fn created_range(params: &Params) -> Result<impl Fn(i64) -> bool, ApiError> {
    let exact = params.integer("created")?;
    let gte = params.integer("created.gte")?;
    let gt = params.integer("created.gt")?;
    let lte = params.integer("created.lte")?;
    let lt = params.integer("created.lt")?;
    Ok(move |at: i64| {
        exact.is_none_or(|bound| at == bound)
            && gte.is_none_or(|bound| at >= bound)
            && gt.is_none_or(|bound| at > bound)
            && lte.is_none_or(|bound| at <= bound)
            && lt.is_none_or(|bound| at < bound)
    })
}

/// Whether `object[name]` is what the parameter asks for, if it asks.
pub(super) fn matches(params: &Params, object: &Value, name: &str) -> bool {
    params.text(name).is_none_or(|wanted| object[name] == wanted)
}

/// Replaces ids by objects, as `expand[]` asks for.
pub(super) fn expand(world: &World, value: &mut Value, params: &Params) -> Result<(), ApiError> {
    for path in params.list("expand") {
        let keys: Vec<&str> = path.split('.').collect();
        if !expand_path(world, value, &keys) {
            let message = format!("This property cannot be expanded ({path}).");
            return Err(ApiError::invalid("expand", message));
        }
    }
    Ok(())
}

fn expand_path(world: &World, value: &mut Value, keys: &[&str]) -> bool {
    let Some((key, rest)) = keys.split_first() else { return true };
    if *key == "data" && value["object"] == "list" {
        return value["data"]
            .as_array_mut()
            .is_none_or(|items| items.iter_mut().all(|item| expand_path(world, item, rest)));
    }
    if *key == "refunds" && value["object"] == "charge" {
        value["refunds"] = refunds_of(world, value);
        return rest.is_empty();
    }
    let Some(field) = value.get_mut(*key) else { return false };
    let object = field.as_str().and_then(|id| world.find(id)).cloned();
    match object {
        Some(object) => *field = object,
        None if field.is_null() => return true,
        None if field.is_string() => return false,
        None => {}
    }
    expand_path(world, field, rest)
}

fn refunds_of(world: &World, charge: &Value) -> Value {
    let data: Vec<&Value> = world.newest_first("refund").filter(|refund| refund["charge"] == charge["id"]).collect();
    let url = format!("/v1/charges/{}/refunds", text(charge, "id"));
    json!({ "object": "list", "data": data, "has_more": false, "url": url })
}
