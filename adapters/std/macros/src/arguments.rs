//! Parses the arguments of `#[measure(...)]`.

use proc_macro2::Span;
use syn::{
    Error, Expr, Ident, Path, Result, Token,
    ext::IdentExt,
    parse::{Parse, ParseStream},
    token,
};

/// The names of the arguments that may follow the event.
const KNOWN: [&str; 4] = ["err", "future", "tag", "crate"];
/// The end of an error message about an argument that is none of these.
const EXPECTED_ARGUMENTS: &str =
    "after the event, expected `err`, `future`, `tag = …` or `crate = …`";

/// The arguments of one `#[measure(...)]`.
pub(crate) struct Arguments {
    /// The expression for the event.
    pub(crate) event: Expr,
    /// The word `err` as it stands in the source, or `None` if it was not given.
    pub(crate) err: Option<Ident>,
    /// The word `future` as it stands in the source, or `None` if it was not given.
    pub(crate) future: Option<Ident>,
    /// The expression for the tag, or `None` if it was not given.
    pub(crate) tag: Option<Expr>,
    /// The path of the crate whose functions the generated code calls. `None` stands for the crate
    /// that re-exports the attribute.
    pub(crate) krate: Option<Path>,
}

impl Parse for Arguments {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let event = event(input)?;
        let mut arguments = Self { event, err: None, future: None, tag: None, krate: None };
        let mut errors: Option<Error> = None;
        while !input.is_empty() {
            input.parse::<Token![,]>()?;
            if input.is_empty() {
                break;
            }
            if let Err(error) = arguments.parse_one(input)? {
                match &mut errors {
                    Some(errors) => errors.combine(error),
                    None => errors = Some(error),
                }
            }
        }
        errors.map_or(Ok(arguments), Err)
    }
}

/// Parses the event, which has to come first.
fn event(input: ParseStream<'_>) -> Result<Expr> {
    const MISSING: &str =
        "missing event; write it first, as in `#[measure(Trading::OrderPlacement)]`";
    // The name of an argument, followed by a comma, a value or nothing, is that argument, so the
    // event is missing. Followed by anything else it belongs to the event's expression, as `crate`
    // does in `crate::Gateway::Decode`.
    let ahead = input.fork();
    let is_argument = ahead.call(Ident::parse_any).is_ok_and(|word| {
        KNOWN.iter().any(|known| word == known)
            && (ahead.is_empty() || ahead.peek(Token![,]) || value_follows(&ahead))
    });
    if input.is_empty() {
        // Not `input.error`, which would prefix the message with `unexpected end of input`.
        return Err(Error::new(Span::call_site(), MISSING));
    }
    if is_argument || named_value_follows(input) || input.peek(Token![,]) {
        return Err(input.error(MISSING));
    }
    input.parse()
}

/// Returns whether `= …` follows. A comparison (`==`) or a match arm (`=>`) is something else.
fn value_follows(input: ParseStream<'_>) -> bool {
    input.peek(Token![=]) && !input.peek(Token![==]) && !input.peek(Token![=>])
}

/// Returns whether a word with a value follows, such as `event = …`.
fn named_value_follows(input: ParseStream<'_>) -> bool {
    let ahead = input.fork();
    ahead.call(Ident::parse_any).is_ok() && value_follows(&ahead)
}

impl Arguments {
    /// Parses one argument after the event.
    ///
    /// The outer error ends the parsing. After an inner error, parsing can go on with the next
    /// argument, so that all inner errors are reported at once.
    fn parse_one(&mut self, input: ParseStream<'_>) -> Result<Result<()>> {
        if !input.peek(Ident::peek_any) {
            return Err(input.error(format!("not an argument; {EXPECTED_ARGUMENTS}")));
        }
        let word = input.call(Ident::parse_any)?;
        if word == "err" || word == "future" {
            if value_follows(input) || input.peek(token::Paren) {
                return Err(input.error(format!("`{word}` takes no value; write `{word}` alone")));
            }
            let place = if word == "err" { &mut self.err } else { &mut self.future };
            return Ok(reject_repetition(&word, place.replace(word.clone()).is_some()));
        }
        if word == "tag" {
            let tag = value(input, &word, "tag = order.id", Expr::parse)?;
            return Ok(reject_repetition(&word, self.tag.replace(tag).is_some()));
        }
        if word == "crate" {
            let path =
                value(input, &word, "crate = crate::metrics::tailwatch", Path::parse_mod_style)?;
            return Ok(reject_repetition(&word, self.krate.replace(path).is_some()));
        }
        skip_value(input)?;
        let nearest = KNOWN
            .into_iter()
            .map(|name| (name, strsim::jaro_winkler(name, &word.to_string().to_lowercase())))
            .filter(|(_, nearness)| *nearness > 0.8)
            .max_by(|(_, one), (_, other)| one.total_cmp(other));
        let hint = nearest.map_or_else(
            || EXPECTED_ARGUMENTS.to_owned(),
            |(name, _)| format!("did you mean `{name}`? ({EXPECTED_ARGUMENTS})"),
        );
        Ok(Err(Error::new(word.span(), format!("unknown argument `{word}`; {hint}"))))
    }
}

/// Returns an error if the argument `word` was given before.
fn reject_repetition(word: &Ident, was_given: bool) -> Result<()> {
    if was_given {
        Err(Error::new(word.span(), format!("`{word}` is given twice; remove one of the two")))
    } else {
        Ok(())
    }
}

/// Parses `= …`, the value of the argument `word`, with `read`. Error messages show `example`,
/// the argument as it should be written.
fn value<T>(
    input: ParseStream<'_>,
    word: &Ident,
    example: &str,
    read: impl FnOnce(ParseStream<'_>) -> Result<T>,
) -> Result<T> {
    if value_follows(input) {
        input.parse::<Token![=]>()?;
        if !input.is_empty() {
            return read(input)
                .map_err(|error| Error::new(error.span(), format!("{error}, as in `{example}`")));
        }
    }
    Err(Error::new(word.span(), format!("`{word}` needs a value, as in `{example}`")))
}

/// Skips the rest of an unknown argument, up to the next comma.
fn skip_value(input: ParseStream<'_>) -> Result<()> {
    while !input.is_empty() && !input.peek(Token![,]) {
        input.parse::<proc_macro2::TokenTree>()?;
    }
    Ok(())
}
