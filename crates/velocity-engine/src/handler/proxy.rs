//! Other servers. There is no reverse proxy yet: every request is told so.

use http::StatusCode;

use crate::call::Call;
use crate::http::{Body, Response};
use crate::log::{self, Level};
use crate::service::plain;

pub struct Proxy;

impl Proxy {
    pub async fn respond(&self, call: &Call<'_>, _body: Body) -> Response {
        let fields = [("route", call.route.as_ref().into())];
        let message = "the reverse proxy is not built yet";
        log::record(Level::Error, "velocity::proxy", "proxy_missing", message, &fields);
        plain(StatusCode::BAD_GATEWAY, "the server behind this one cannot be asked\n")
    }
}
