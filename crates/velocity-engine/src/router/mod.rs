//! Which route answers a request: host → site → the first route whose path and method match.
//!
//! [`names`] finds the site, [`path`] says which path a request really asks for, [`table`] finds the route, or [`few`]
//! where there are not many. The cost of neither grows with the number of sites or routes.

mod few;
mod methods;
mod names;
mod path;
mod table;

pub use self::methods::Methods;
pub use self::path::{Refusal, RequestPath};
pub use self::table::{Params, Table};

use self::few::{Few, Span};
use self::names::Names;
use crate::error::Result;
use crate::plan;

/// Every site of a Plan.
pub struct Router {
    names: Names,
    sites: Vec<Routes>,
    few: Few,
}

/// Where the routes of a site are.
enum Routes {
    Few(Span),
    Table(Box<Table>),
}

/// What became of a path and a method at one site.
#[derive(Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The place of the route in its site.
    Found(usize, Params),
    /// There are routes for this path, for these methods.
    Method(Methods),
    Missing,
}

impl Router {
    /// # Errors
    ///
    /// A pattern that cannot be matched.
    pub fn new(sites: &[plan::Site]) -> Result<Self> {
        let mut few = Few::default();
        let routes = sites.iter().map(|site| match few.add(&site.routes) {
            Some(span) => Ok(Routes::Few(span)),
            None => Ok(Routes::Table(Box::new(Table::new(&site.routes)?))),
        });
        Ok(Self {
            names: Names::new(sites.iter().map(|site| site.hosts.as_slice())),
            sites: routes.collect::<Result<_>>()?,
            few,
        })
    }

    /// Whether a route can be matched at all.
    ///
    /// # Errors
    ///
    /// As [`Router::new`].
    pub fn check(route: &plan::Route) -> Result<()> {
        Table::new(std::slice::from_ref(route)).map(drop)
    }

    /// The place of the site for a host name without port, in any case.
    pub fn site(&self, host: &str) -> Option<usize> {
        self.names.find(host)
    }

    /// The first route of a site that matches.
    pub fn route(&self, site: usize, path: &RequestPath<'_>, method: &http::Method) -> Outcome {
        match self.sites.get(site) {
            Some(Routes::Few(span)) => self.few.find(*span, path, method),
            Some(Routes::Table(table)) => table.find(path, method),
            None => Outcome::Missing,
        }
    }
}

#[cfg(test)]
mod tests;
