//! Small text files of a data directory: format and directory in a line each, a body, and the
//! checksum (CRC-32C) of all that in the last line.

use super::identity::DirectoryId;

/// Why a file is not what a node wrote.
pub(super) enum Broken {
    /// How that shows.
    Damaged(&'static str),
    /// Later code wrote it, in this format.
    Newer(u32),
}

/// Why a file is not what this directory's node wrote.
pub(super) enum Unreadable {
    /// It is nobody's.
    Broken(Broken),
    /// It is this directory's.
    Foreign(DirectoryId),
}

/// The whole file; `title` begins its first line.
pub(super) fn seal(title: &str, format: u32, directory: DirectoryId, body: &str) -> String {
    let covered = format!("{title} {format}\ndirectory {directory}\n{body}");
    let checksum = crc32c::crc32c(covered.as_bytes());
    format!("{covered}checksum {checksum:08x}\n")
}

/// The body of a file that [`seal`] made for `directory`; `newest` is the latest format read.
pub(super) fn open<'a>(
    bytes: &'a [u8],
    title: &str,
    newest: u32,
    directory: DirectoryId,
) -> Result<&'a str, Unreadable> {
    let (owner, body) = open_any(bytes, title, newest).map_err(Unreadable::Broken)?;
    match owner == directory {
        true => Ok(body),
        false => Err(Unreadable::Foreign(owner)),
    }
}

/// Whether a file is sealed at all, intact or not.
pub(super) fn is_sealed(text: &str) -> bool {
    let last = text.lines().next_back();
    last.is_some_and(|last| last.starts_with("checksum "))
}

/// The same of a file for any directory, which it names.
pub(super) fn open_any<'a>(
    bytes: &'a [u8],
    title: &str,
    newest: u32,
) -> Result<(DirectoryId, &'a str), Broken> {
    let text = str::from_utf8(bytes).map_err(|_| Broken::Damaged("it is no text"))?;
    let mut head = text.lines();
    let mut value_of = |name: &str| {
        let value = head.next().and_then(|line| line.strip_prefix(name));
        value.and_then(|value| value.strip_prefix(' '))
    };
    let format = value_of(title).and_then(|text| text.parse::<u32>().ok());
    let format = format.filter(|&format| format > 0);
    let format = format.ok_or(Broken::Damaged("line 1 names no format"))?;
    if format > newest {
        return Err(Broken::Newer(format));
    }
    let owner = value_of("directory").and_then(DirectoryId::parse);
    let owner = owner.ok_or(Broken::Damaged("line 2 names no directory"))?;
    let (covered, checksum) = text
        .rsplit_once("checksum ")
        .ok_or(Broken::Damaged("it ends without a checksum"))?;
    if checksum != format!("{:08x}\n", crc32c::crc32c(covered.as_bytes())) {
        return Err(Broken::Damaged("its checksum is another"));
    }
    Ok((owner, covered.splitn(3, '\n').nth(2).unwrap_or_default()))
}
