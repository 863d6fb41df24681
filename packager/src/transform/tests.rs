mod variables;
mod xdt;
