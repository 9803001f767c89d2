use clap::Parser;
#[derive(Parser)]
struct A {
    #[command(flatten)]
    b: jobs::bench::BenchJobsArgs,
}
fn main() -> std::process::ExitCode {
    A::parse().b.run()
}
