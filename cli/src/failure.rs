//! How a command ends when it does not end well.

use std::error::Error;
use std::fmt;

/// Why a command stops.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Something to tell the user, in one line.
    Message(String),
    /// Whoever read the output has gone (`| head`): there is nobody to tell, and nothing is wrong.
    Pipe,
}

/// What every command returns.
pub(crate) type Outcome<T = ()> = Result<T, Failure>;

impl Failure {
    /// A failure described by a text.
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self::Message(text.into())
    }

    /// A failure of something in particular, with its cause.
    pub(crate) fn of(what: impl fmt::Display, cause: &dyn Error) -> Self {
        Self::Message(format!("{what}: {}", chain(cause)))
    }

    /// A failure to write to standard output.
    pub(crate) fn output(error: &std::io::Error) -> Self {
        if error.kind() == std::io::ErrorKind::BrokenPipe {
            Self::Pipe
        } else {
            Self::Message(format!("cannot write to standard output: {error}"))
        }
    }
}

impl From<alluvium::Error> for Failure {
    fn from(error: alluvium::Error) -> Self {
        Self::Message(chain(&error))
    }
}

impl From<crate::input::InputError> for Failure {
    fn from(error: crate::input::InputError) -> Self {
        Self::Message(error.to_string())
    }
}

/// An error with the causes that its own text does not tell already.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_are_told_once() {
        #[derive(Debug)]
        struct Outer(&'static str, std::io::Error);
        impl fmt::Display for Outer {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.0)
            }
        }
        impl Error for Outer {
            fn source(&self) -> Option<&(dyn Error + 'static)> {
                Some(&self.1)
            }
        }
        let cause = || std::io::Error::other("disk full");
        assert_eq!(
            chain(&Outer("cannot write", cause())),
            "cannot write: disk full"
        );
        assert_eq!(
            chain(&Outer("cannot write: disk full", cause())),
            "cannot write: disk full"
        );
    }
}
