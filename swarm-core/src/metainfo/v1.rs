//! The v1 half of `info`: `length` or `files`, and `pieces` (BEP 3, 47).

use std::ops::Range;

use super::error::MetainfoError;
use super::raw::{Kind, RawFile, RawList, attributes, length_of};
use crate::bencode::{Dict, List, Value};

/// What the v1 half says.
#[derive(Debug)]
pub(super) struct V1<'a> {
    pub(super) list: RawList<'a>,
    pub(super) single: bool,
    /// Where the piece hashes lie in the bytes that `info` was decoded from.
    pub(super) pieces: Range<usize>,
}

pub(super) fn parse<'a>(info: Dict<'a>, name: &'a [u8]) -> Result<V1<'a>, MetainfoError> {
    let list = match (info.get(b"length"), info.get(b"files")) {
        (Some(_), None) => single_file(info, name)?,
        (None, Some(files)) => {
            let field = MetainfoError::Field { key: "files", expected: "list" };
            file_list(files.as_list().ok_or(field)?)?
        }
        _ => return Err(MetainfoError::LengthOrFiles),
    };
    let single = info.get(b"length").is_some();
    Ok(V1 { list, single, pieces: pieces(info)? })
}

fn single_file<'a>(info: Dict<'a>, name: &'a [u8]) -> Result<RawList<'a>, MetainfoError> {
    let length = length_of(info).ok_or(MetainfoError::FileLength(0))?;
    let (_, executable) = attributes(info, length);
    let mut list = RawList::default();
    list.push(RawFile { path: vec![name], length, kind: Kind::Content, executable, root: None })?;
    Ok(list)
}

fn file_list(files: List<'_>) -> Result<RawList<'_>, MetainfoError> {
    let mut list = RawList::default();
    for (at, file) in files.iter().enumerate() {
        let file = file.as_dict().ok_or(MetainfoError::FileLength(at))?;
        let length = match file.get(b"length") {
            // Only a link may have none (BEP 47).
            None if attributes(file, 0).0 == Kind::Link => 0,
            _ => length_of(file).ok_or(MetainfoError::FileLength(at))?,
        };
        let (kind, executable) = attributes(file, length);
        let path = match path_of(file) {
            Some(path) => path,
            // Pad files need no path (BEP 47); theirs is never used.
            None if kind == Kind::Pad => Vec::new(),
            None => return Err(MetainfoError::FilePath(at)),
        };
        list.push(RawFile { path, length, kind, executable, root: None })?;
    }
    Ok(list)
}

/// The path, in UTF-8 where the torrent gives it so.
fn path_of(file: Dict<'_>) -> Option<Vec<&[u8]>> {
    let elements = |value: Value<'_>| value.as_list().is_some();
    let path = file.get(b"path.utf-8").filter(|path| elements(*path));
    let path = path.or_else(|| file.get(b"path"))?.as_list()?;
    let path: Vec<&[u8]> = path.iter().map(|element| element.as_bytes()).collect::<Option<_>>()?;
    (!path.is_empty()).then_some(path)
}

/// The piece hashes; their number is checked against the lengths later.
fn pieces(info: Dict<'_>) -> Result<Range<usize>, MetainfoError> {
    let field = MetainfoError::Field { key: "pieces", expected: "string" };
    let Some(value) = info.get(b"pieces") else { return Err(field) };
    let length = value.as_bytes().ok_or(field)?.len();
    let end = value.span().end;
    Ok(end - length..end)
}
