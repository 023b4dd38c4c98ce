mod encode;
mod parse;
