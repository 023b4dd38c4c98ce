//! LCS: the longest common subsequence of two values.

use alloc::{vec, vec::Vec};

use crate::{
    data::{
        error::{DataError, Stop},
        keyspace::Keyspace,
        run::{Flow, Run, read},
    },
    limits::LCS_CELLS_MAX,
    resp::Encoder,
};

#[derive(Clone, Copy, Default)]
struct Options {
    len: bool,
    index: bool,
    match_len: bool,
    match_len_min: usize,
}

fn parse<K: Keyspace>(run: &Run<'_, K>) -> Result<Options, Stop> {
    let mut options = Options::default();
    let mut index = 3;
    while index < run.args.len() {
        match () {
            () if run.is(index, "idx") => options.index = true,
            () if run.is(index, "len") => options.len = true,
            () if run.is(index, "withmatchlen") => options.match_len = true,
            () if run.is(index, "minmatchlen") && index + 1 < run.args.len() => {
                index += 1;
                options.match_len_min = usize::try_from(run.integer(index)?).unwrap_or(0);
            }
            () => return Err(DataError::Syntax.into()),
        }
        index += 1;
    }
    if options.index && options.len {
        return Err(DataError::LcsOptions.into());
    }
    Ok(options)
}

/// LCS.
pub(in crate::data) fn lcs<K: Keyspace>(run: &mut Run<'_, K>) -> Flow {
    let options = parse(run)?;
    let (first, second) = (run.key(1)?, run.key(2)?);
    let left = read(run.keys, &mut run.wait, first).map_or(&b""[..], |found| found.value);
    let right = read(run.keys, &mut run.wait, second).map_or(&b""[..], |found| found.value);
    let table = Table::new(left, right)?;
    if options.len {
        run.reply.count(table.at(left.len(), right.len()));
    } else if options.index {
        let mut matches = Vec::new();
        table.walk(left, right, &mut |found| matches.push(found));
        write_matches(&matches, table.at(left.len(), right.len()), options, &mut run.reply);
    } else {
        let mut common: Vec<&[u8]> = Vec::new();
        table.walk(left, right, &mut |found| common.push(&left[found.left..found.left + found.len]));
        common.reverse();
        run.reply.bulk(&common.concat());
    }
    Ok(())
}

/// A run of bytes that both values have.
#[derive(Clone, Copy)]
struct Match {
    left: usize,
    right: usize,
    len: usize,
}

/// The length of the longest common subsequence of every two prefixes.
struct Table {
    cells: Vec<u32>,
    width: usize,
}

impl Table {
    fn new(left: &[u8], right: &[u8]) -> Result<Self, Stop> {
        let width = right.len() + 1;
        let count = (left.len() + 1).checked_mul(width).filter(|&count| count <= LCS_CELLS_MAX);
        let mut table = Self { cells: vec![0; count.ok_or(DataError::LcsLength)?], width };
        for (i, a) in left.iter().enumerate() {
            let (above, current) = table.cells[i * width..(i + 2) * width].split_at_mut(width);
            for (j, b) in right.iter().enumerate() {
                current[j + 1] = if a == b { above[j] + 1 } else { above[j + 1].max(current[j]) };
            }
        }
        Ok(table)
    }

    fn at(&self, i: usize, j: usize) -> usize {
        // Lossless: the supported targets have 64 bits.
        self.cells[i * self.width + j] as usize
    }

    /// Calls `visit` for each match, the last one first.
    fn walk(&self, left: &[u8], right: &[u8], visit: &mut dyn FnMut(Match)) {
        let (mut i, mut j) = (left.len(), right.len());
        let mut run: Option<Match> = None;
        while i > 0 && j > 0 {
            if left[i - 1] == right[j - 1] {
                i -= 1;
                j -= 1;
                run = match run {
                    Some(run) if run.left == i + 1 && run.right == j + 1 => {
                        Some(Match { left: i, right: j, len: run.len + 1 })
                    }
                    earlier => {
                        earlier.into_iter().for_each(&mut *visit);
                        Some(Match { left: i, right: j, len: 1 })
                    }
                };
            } else if self.at(i - 1, j) > self.at(i, j - 1) {
                i -= 1;
            } else {
                j -= 1;
            }
        }
        run.into_iter().for_each(visit);
    }
}

fn write_matches(matches: &[Match], len: usize, options: Options, reply: &mut Encoder<'_>) {
    let shown = matches.iter().filter(|found| found.len >= options.match_len_min);
    reply.map(2);
    reply.bulk(b"matches");
    reply.array(shown.clone().count());
    for found in shown {
        reply.array(if options.match_len { 3 } else { 2 });
        for start in [found.left, found.right] {
            reply.array(2);
            reply.count(start);
            reply.count(start + found.len - 1);
        }
        if options.match_len {
            reply.count(found.len);
        }
    }
    reply.bulk(b"len");
    reply.count(len);
}
