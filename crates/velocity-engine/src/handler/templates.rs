//! All templates of a Plan: those of its folder by their names, and those that stand in the Plan itself.
//!
//! They are compiled when the snapshot is built. What a rendering may cost is bounded by fuel, which is counted in
//! instructions, and by a limit on recursion.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io::Read;
use std::path::{Path, PathBuf};

use minijinja::{AutoEscape, Environment, ErrorKind, Value};

use super::text::Inline;
use crate::error::{Error, Result};
use crate::log::{self, Level};

/// Instructions of one rendering: some ten milliseconds.
const FUEL: u64 = 500_000;
const MAX_RECURSION: usize = 64;
/// Of a folder.
const MAX_FILES: usize = 10_000;
const MAX_FILE: u64 = 1 << 20;
const MAX_DEPTH: usize = 16;
/// What the names of templates without a file begin with: no file's does.
const INLINE: char = '\0';
/// What says that a page is a template; not part of its type.
const SUFFIXES: [&str; 3] = [".j2", ".jinja", ".jinja2"];

pub struct Templates {
    environment: Environment<'static>,
    folder: Option<PathBuf>,
    /// What the templates of the folder look at.
    wants: BTreeMap<String, Wants>,
    /// From the name of a template without a file to its place in the Plan.
    places: HashMap<String, String>,
    /// What is broken, where it is to be told of all that is; else the first is the end.
    failures: Option<Vec<Error>>,
}

/// What has to be made for a template.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wants {
    pub headers: bool,
    pub form: bool,
    /// It has parts in other files.
    composed: bool,
}

impl Templates {
    /// Compile every template of a folder.
    ///
    /// # Errors
    ///
    /// `TEMPLATES_UNREADABLE`, and `TEMPLATE_INVALID` with file and line.
    pub fn load(folder: Option<&Path>) -> Result<Self> {
        Self::read(folder, None)
    }

    /// The same, going on without what is broken: [`Templates::take_failures`] has it.
    pub fn inspect(folder: Option<&Path>) -> Result<Self> {
        Self::read(folder, Some(Vec::new()))
    }

    /// What has been found to be broken since the last time.
    pub fn take_failures(&mut self) -> Vec<Error> {
        self.failures.as_mut().map(std::mem::take).unwrap_or_default()
    }

    fn read(folder: Option<&Path>, failures: Option<Vec<Error>>) -> Result<Self> {
        let mut environment = Environment::new();
        environment.set_debug(false); // errors know their place; what stood around it is not kept
        environment.set_fuel(Some(FUEL));
        environment.set_recursion_limit(MAX_RECURSION);
        environment.set_auto_escape_callback(auto_escape);
        let mut templates = Self {
            environment,
            folder: folder.map(Path::to_owned),
            wants: BTreeMap::new(),
            places: HashMap::new(),
            failures,
        };
        if let Some(folder) = folder {
            let mut files = Vec::new();
            if let Err(error) = walk(folder, String::new(), MAX_DEPTH, &mut files) {
                templates.fail(error)?;
            }
            for (name, path) in files {
                if let Err(error) = templates.add_file(&name, &path) {
                    templates.wants.insert(name, Wants::default()); // it is there
                    templates.fail(error)?;
                }
            }
        }
        Ok(templates)
    }

    fn fail(&mut self, error: Error) -> Result<()> {
        match &mut self.failures {
            Some(failures) => {
                failures.push(error);
                Ok(())
            }
            None => Err(error),
        }
    }

    fn add_file(&mut self, name: &str, path: &Path) -> Result<()> {
        let mut content = Vec::new();
        std::fs::File::open(path)
            .and_then(|file| file.take(MAX_FILE + 1).read_to_end(&mut content))
            .map_err(|e| unreadable(path, &e.to_string()))?;
        let text = mime_guess::from_path(stem(name)).first().is_none_or(|kind| {
            kind.type_() == "text" || matches!(kind.subtype().as_str(), "json" | "javascript" | "xml" | "xhtml")
        });
        let source = match String::from_utf8(content) {
            Ok(source) if source.len() as u64 <= MAX_FILE => source,
            Ok(_) if text => return Err(unreadable(path, "a template has at most 1 MiB")),
            Err(_) if text => {
                let message = format!("{}: a template is UTF-8 text", path.display());
                return Err(Error::config("TEMPLATE_INVALID", message).detail("file", path.display().to_string()));
            }
            // A picture that lies beside the pages that show it.
            Ok(_) | Err(_) => return Ok(()),
        };
        self.environment
            .add_template_owned(name.to_owned(), source.clone())
            .map_err(|error| {
                let place = path.display().to_string();
                invalid(&place, &source, &error).detail("file", place)
            })?;
        let wants = self.look(name);
        self.wants.insert(name.to_owned(), wants);
        Ok(())
    }

    /// Compile a template that stands in the Plan.
    pub fn inline(&mut self, source: &str, place: &str) -> Result<Inline> {
        let name = format!("{INLINE}{}", self.places.len());
        if let Err(error) = self.environment.add_template_owned(name.clone(), source.to_owned()) {
            self.fail(invalid(place, source, &error).detail("text", source))?;
        }
        let wants = self.all_of(self.look(&name));
        self.places.insert(name.clone(), place.to_owned());
        Ok(Inline {
            name,
            wants_headers: wants.headers,
        })
    }

    /// What a page of the folder looks at.
    ///
    /// # Errors
    ///
    /// `TEMPLATE_MISSING`.
    pub fn page(&self, name: &str, place: &str) -> Result<Wants> {
        let Some(folder) = &self.folder else {
            return Err(
                Error::config("TEMPLATE_MISSING", format!("{place}: there is no folder of templates"))
                    .hint("name it as templates_dir"),
            );
        };
        match self.wants.get(name) {
            Some(wants) => Ok(self.all_of(*wants)),
            None => Err(Error::config(
                "TEMPLATE_MISSING",
                format!("{place}: there is no template {name:?} in {}", folder.display()),
            )
            .detail("text", name)),
        }
    }

    fn look(&self, name: &str) -> Wants {
        let Ok(template) = self.environment.get_template(name) else {
            return Wants::default();
        };
        let names: HashSet<String> = template.undeclared_variables(true);
        let source = template.source();
        Wants {
            headers: names.iter().any(|name| {
                name == "request" || name.strip_prefix("request.headers").is_some_and(|rest| !is_word(rest))
            }),
            form: names
                .iter()
                .any(|name| name.strip_prefix("form").is_some_and(|rest| !is_word(rest))),
            composed: ["extends", "include", "import"].iter().any(|tag| source.contains(tag)),
        }
    }

    /// Of a template in parts, any file may be one.
    fn all_of(&self, wants: Wants) -> Wants {
        match wants.composed {
            true => self.wants.values().fold(wants, |all, more| Wants {
                headers: all.headers || more.headers,
                form: all.form || more.form,
                composed: true,
            }),
            false => wants,
        }
    }

    /// Render; what fails is logged with its place.
    pub fn render(&self, name: &str, variables: &Value) -> Option<String> {
        let rendered = self
            .environment
            .get_template(name)
            .and_then(|template| template.render(variables));
        match rendered {
            Ok(text) => Some(text),
            Err(error) => {
                let place = self.places.get(name).map_or(name, String::as_str);
                let fields = [("template", place.into()), ("reason", reason(&error).into())];
                log::record(Level::Error, "velocity::edge", "template_failed", "", &fields);
                None
            }
        }
    }
}

/// The name of a page without what says that it is a template.
pub fn stem(name: &str) -> &str {
    SUFFIXES.iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name)
}

fn is_word(rest: &str) -> bool {
    !rest.is_empty() && !rest.starts_with('.')
}

fn auto_escape(name: &str) -> AutoEscape {
    if name.starts_with(INLINE) {
        return AutoEscape::None; // whoever uses it escapes it for where it goes
    }
    match stem(name).rsplit('.').next() {
        Some("json" | "js" | "mjs" | "yaml" | "yml") => AutoEscape::Json,
        Some("txt" | "md" | "csv" | "css") => AutoEscape::None,
        _ => AutoEscape::Html,
    }
}

/// Every file below a folder, by its name with slashes, in order.
fn walk(folder: &Path, prefix: String, depth: usize, files: &mut Vec<(String, PathBuf)>) -> Result<()> {
    let failed = |e: std::io::Error| unreadable(folder, &e.to_string());
    if depth == 0 {
        return Err(unreadable(folder, "it is nested too deep"));
    }
    let mut entries: Vec<_> = std::fs::read_dir(folder)
        .and_then(Iterator::collect::<std::io::Result<Vec<_>>>)
        .map_err(failed)?;
    entries.sort_by_key(std::fs::DirEntry::file_name);
    for entry in entries {
        let name = entry.file_name();
        // What an editor leaves behind is no template.
        let Some(name) = name
            .to_str()
            .filter(|name| !name.starts_with('.') && !name.ends_with('~'))
        else {
            continue;
        };
        let (path, name) = (entry.path(), format!("{prefix}{name}"));
        let kind = std::fs::metadata(&path).map_err(|e| unreadable(&path, &e.to_string()))?;
        if kind.is_dir() {
            walk(&path, name + "/", depth - 1, files)?;
        } else if kind.is_file() {
            if files.len() == MAX_FILES {
                return Err(unreadable(folder, "there are more than 10,000 templates"));
            }
            files.push((name, path));
        }
    }
    Ok(())
}

fn unreadable(path: &Path, reason: &str) -> Error {
    Error::config(
        "TEMPLATES_UNREADABLE",
        format!("cannot read templates from {}: {reason}", path.display()),
    )
    .detail("file", path.display().to_string())
}

/// Line and column are those of the source, from 1 and in characters; `offset` is what stands before them.
fn invalid(place: &str, source: &str, error: &minijinja::Error) -> Error {
    let line = error.line().map(|line| format!(":{line}")).unwrap_or_default();
    let reason = reason(error);
    let invalid = Error::config("TEMPLATE_INVALID", format!("{place}{line}: {reason}")).detail("reason", reason);
    let before = error.range().and_then(|range| source.get(..range.start));
    match (before, error.line()) {
        (Some(before), _) => {
            let column = before.rsplit('\n').next().unwrap_or(before).chars().count() + 1;
            let line = before.matches('\n').count() + 1;
            invalid
                .detail("line", line.to_string())
                .detail("column", column.to_string())
                .detail("offset", before.chars().count().to_string())
        }
        (None, Some(line)) => invalid.detail("line", line.to_string()),
        (None, None) => invalid,
    }
}

/// In words, and nothing that only makes sense inside of the template engine.
fn reason(error: &minijinja::Error) -> String {
    if error.kind() == ErrorKind::OutOfFuel {
        return "it does not come to an end".into();
    }
    match error.detail() {
        Some(detail) => detail.to_owned(),
        None => error.kind().to_string(),
    }
}
