mod gather;
mod harness;
mod keys;
mod model;
mod route;
mod strings;
mod transactions;
mod whole;
