//! What stands in the parentheses of `#[measure(...)]`.

use proc_macro2::Span;
use syn::{
    Error, Expr, Ident, Path, Result, Token,
    ext::IdentExt,
    parse::{Parse, ParseStream},
    token,
};

const KNOWN: [&str; 3] = ["err", "tag", "crate"];
const KNOWN_ARE: &str = "beside the event there may be `err`, `tag = …` and `crate = …`";

/// The arguments as they were given.
pub(crate) struct Arguments {
    pub(crate) event: Expr,
    /// The word `err`, where it stands.
    pub(crate) err: Option<Ident>,
    pub(crate) tag: Option<Expr>,
    /// The path to the crate, if it is not `::tailwatch`.
    pub(crate) krate: Option<Path>,
}

impl Parse for Arguments {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let event = event(input)?;
        let mut arguments = Self { event, err: None, tag: None, krate: None };
        let mut wrong: Option<Error> = None;
        while !input.is_empty() {
            input.parse::<Token![,]>()?;
            if input.is_empty() {
                break;
            }
            if let Err(error) = arguments.take(input)? {
                match &mut wrong {
                    Some(wrong) => wrong.combine(error),
                    None => wrong = Some(error),
                }
            }
        }
        wrong.map_or(Ok(arguments), Err)
    }
}

fn event(input: ParseStream<'_>) -> Result<Expr> {
    const MISSING: &str = "no event: write it first, as in `#[measure(Trading::OrderPlacement)]`";
    // An event may be called `err`; a lone word is taken for one only if it is none of ours.
    let ahead = input.fork();
    let is_argument = ahead.call(Ident::parse_any).is_ok_and(|word| {
        KNOWN.iter().any(|known| word == known)
            && (ahead.is_empty() || ahead.peek(Token![,]) || is_value(&ahead))
    });
    if input.is_empty() {
        // Without the parser's own words about the end.
        return Err(Error::new(Span::call_site(), MISSING));
    }
    if is_argument || is_value_of_word(input) || input.peek(Token![,]) {
        return Err(input.error(MISSING));
    }
    input.parse()
}

/// Whether what follows is `= …`, and not a comparison.
fn is_value(input: ParseStream<'_>) -> bool {
    input.peek(Token![=]) && !input.peek(Token![==]) && !input.peek(Token![=>])
}

fn is_value_of_word(input: ParseStream<'_>) -> bool {
    let ahead = input.fork();
    ahead.call(Ident::parse_any).is_ok() && is_value(&ahead)
}

impl Arguments {
    /// Takes one argument after the event. An error inside tells of what is wrong but can be read over, so that all such are told
    /// at once.
    fn take(&mut self, input: ParseStream<'_>) -> Result<Result<()>> {
        if !input.peek(Ident::peek_any) {
            return Err(input.error(format!("this is no argument: {KNOWN_ARE}")));
        }
        let word = input.call(Ident::parse_any)?;
        if word == "err" {
            if is_value(input) || input.peek(token::Paren) {
                return Err(input.error("`err` takes no value: the word alone switches it on"));
            }
            return Ok(once(&word, self.err.replace(word.clone()).is_some()));
        }
        if word == "tag" {
            let tag = value(input, &word, "tag = order.id", Expr::parse)?;
            return Ok(once(&word, self.tag.replace(tag).is_some()));
        }
        if word == "crate" {
            let path =
                value(input, &word, "crate = crate::metrics::tailwatch", Path::parse_mod_style)?;
            return Ok(once(&word, self.krate.replace(path).is_some()));
        }
        read_over(input)?;
        let nearest = KNOWN
            .into_iter()
            .map(|name| (name, strsim::jaro_winkler(name, &word.to_string().to_lowercase())))
            .filter(|(_, nearness)| *nearness > 0.8)
            .max_by(|(_, one), (_, other)| one.total_cmp(other));
        let meant = nearest.map_or(String::new(), |(name, _)| format!(" did you mean `{name}`?"));
        Ok(Err(Error::new(word.span(), format!("unknown argument `{word}`:{meant} {KNOWN_ARE}"))))
    }
}

fn once(word: &Ident, is_there: bool) -> Result<()> {
    if is_there { Err(Error::new(word.span(), format!("`{word}` is given twice"))) } else { Ok(()) }
}

/// Reads `= …`, where `example` shows how it is written.
fn value<T>(
    input: ParseStream<'_>,
    word: &Ident,
    example: &str,
    read: impl FnOnce(ParseStream<'_>) -> Result<T>,
) -> Result<T> {
    if is_value(input) {
        input.parse::<Token![=]>()?;
        if !input.is_empty() {
            return read(input)
                .map_err(|error| Error::new(error.span(), format!("{error}, as in `{example}`")));
        }
    }
    Err(Error::new(word.span(), format!("`{word}` needs a value, as in `{example}`")))
}

/// Reads over what belongs to an argument that is not known.
fn read_over(input: ParseStream<'_>) -> Result<()> {
    while !input.is_empty() && !input.peek(Token![,]) {
        input.parse::<proc_macro2::TokenTree>()?;
    }
    Ok(())
}
