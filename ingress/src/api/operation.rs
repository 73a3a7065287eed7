//! One route of the service: where it is, who may call it, what it does, and what the documentation says of it. All of
//! that stands in one place for each route, so that the one can't be changed without the other being seen.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use warp::http::Method;

use super::access::Access;
use super::auth::Caller;
use crate::app::App;
use crate::http::{Answer, Placed, Problem, Request};

/// What a handler promises.
pub(crate) type Handling = BoxFuture<'static, Result<Answer, Problem>>;

/// A call of a route that needs no token.
pub(crate) struct Visit {
    pub(crate) request: Request,
    params: Vec<String>,
}

impl Visit {
    pub(crate) fn new(request: Request, params: Vec<String>) -> Self {
        Self { request, params }
    }

    /// A parameter of the path, by its place.
    pub(crate) fn param(&self, place: usize) -> &str {
        self.params.get(place).map_or("", String::as_str)
    }
}

/// A call by somebody who is known, and who may call this route.
pub(crate) struct Call {
    pub(crate) request: Request,
    pub(crate) caller: Caller,
    params: Vec<String>,
}

impl Call {
    pub(crate) fn new(request: Request, caller: Caller, params: Vec<String>) -> Self {
        Self { request, caller, params }
    }

    /// A parameter of the path, by its place.
    pub(crate) fn param(&self, place: usize) -> &str {
        self.params.get(place).map_or("", String::as_str)
    }
}

/// Who answers.
#[derive(Clone, Copy)]
pub(crate) enum Run {
    /// A handler for anybody.
    Open(fn(Arc<App>, Visit) -> Handling),
    /// A handler for callers who may.
    Known(fn(Arc<App>, Call) -> Handling),
    /// Answered before the table is looked at: health and metrics.
    Before,
}

/// A query parameter or a header, for the documentation.
pub(crate) struct Param {
    pub(crate) name: &'static str,
    pub(crate) says: &'static str,
    pub(crate) schema: fn(&mut SchemaGenerator) -> Schema,
}

/// What a body or an answer is.
#[derive(Clone, Copy)]
pub(crate) enum Content {
    Json(fn(&mut SchemaGenerator) -> Schema),
    /// A page or a text, of this media type.
    Text(&'static str),
}

/// An answer that a route may give.
pub(crate) struct Documented {
    pub(crate) status: u16,
    pub(crate) says: &'static str,
    pub(crate) content: Content,
}

/// What a request carries.
pub(crate) struct Body {
    pub(crate) schema: fn(&mut SchemaGenerator) -> Schema,
    pub(crate) required: bool,
}

/// A route.
pub(crate) struct Operation {
    pub(crate) method: Method,
    /// With its parameters in braces, as `/api/organizations/{id}/config`.
    pub(crate) path: &'static str,
    /// The name of the call for programs, as `change_organization`.
    pub(crate) id: &'static str,
    pub(crate) tag: &'static str,
    pub(crate) summary: &'static str,
    pub(crate) access: Access,
    pub(crate) query: Vec<Param>,
    pub(crate) headers: Vec<Param>,
    pub(crate) body: Option<Body>,
    pub(crate) answers: Vec<Documented>,
    /// Whether it says something useful while the database is away.
    pub(crate) without_database: bool,
    pub(crate) run: Run,
}

fn schema_of<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<T>()
}

impl Operation {
    fn new(method: Method, path: &'static str, id: &'static str, access: Access, run: Run) -> Self {
        Self {
            method,
            path,
            id,
            tag: "",
            summary: "",
            access,
            query: Vec::new(),
            headers: Vec::new(),
            body: None,
            answers: Vec::new(),
            without_database: false,
            run,
        }
    }

    /// A route for callers who have `access`.
    pub(crate) fn known(
        method: Method,
        path: &'static str,
        id: &'static str,
        access: Access,
        run: fn(Arc<App>, Call) -> Handling,
    ) -> Self {
        Self::new(method, path, id, access, Run::Known(run))
    }

    /// A route for anybody.
    pub(crate) fn open(
        method: Method,
        path: &'static str,
        id: &'static str,
        run: fn(Arc<App>, Visit) -> Handling,
    ) -> Self {
        let open = Self::new(method, path, id, Access::Open, Run::Open(run));
        Self { without_database: true, ..open }
    }

    /// A route that is answered before the table is looked at.
    pub(crate) fn before(path: &'static str, id: &'static str) -> Self {
        Self::new(Method::GET, path, id, Access::Open, Run::Before)
    }

    /// Its group and its sentence.
    pub(crate) fn says(mut self, tag: &'static str, summary: &'static str) -> Self {
        (self.tag, self.summary) = (tag, summary);
        self
    }

    /// It says something useful while the database is away.
    pub(crate) fn without_database(mut self) -> Self {
        self.without_database = true;
        self
    }

    /// A query parameter.
    pub(crate) fn query<T: JsonSchema>(mut self, name: &'static str, says: &'static str) -> Self {
        self.query.push(Param { name, says, schema: schema_of::<T> });
        self
    }

    /// A header that it looks at.
    pub(crate) fn header<T: JsonSchema>(mut self, name: &'static str, says: &'static str) -> Self {
        self.headers.push(Param { name, says, schema: schema_of::<T> });
        self
    }

    /// A JSON body that must be there.
    pub(crate) fn body<T: JsonSchema>(mut self) -> Self {
        self.body = Some(Body { schema: schema_of::<T>, required: true });
        self
    }

    /// A JSON body that may be there.
    pub(crate) fn body_or_nothing<T: JsonSchema>(mut self) -> Self {
        self.body = Some(Body { schema: schema_of::<T>, required: false });
        self
    }

    /// An answer with JSON.
    pub(crate) fn answers<T: JsonSchema>(mut self, status: u16, says: &'static str) -> Self {
        self.answers.push(Documented { status, says, content: Content::Json(schema_of::<T>) });
        self
    }

    /// An answer that is no JSON.
    pub(crate) fn answers_text(mut self, status: u16, says: &'static str, media_type: &'static str) -> Self {
        self.answers.push(Documented { status, says, content: Content::Text(media_type) });
        self
    }

    /// The names of the path's parameters.
    pub(crate) fn params(&self) -> impl Iterator<Item = &'static str> {
        self.path.split('/').filter_map(|segment| segment.strip_prefix('{')?.strip_suffix('}'))
    }
}

impl Placed for Operation {
    fn place(&self) -> (&Method, &'static str) {
        (&self.method, self.path)
    }
}
