//! All calls of the API, a row each: what its description says, and who may. A route without a row here, or a row without a route, fails
//! the test `roles`, which asks the router itself what it has.

use super::Permission::{self, Administer, Release, Run, See};

/// Who may call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gate {
    /// Everybody.
    Everybody,
    /// Whoever has a token; what they get is what they may see.
    SignedIn,
    /// Who shows something else than a token: a signature, a code.
    Proof,
    /// People who may this.
    Person(Permission),
    /// Runners.
    Runner,
    /// An attempt, about itself.
    Attempt,
    /// The runner of a machine that pulls.
    Target,
    /// The process that deploys.
    Deployer,
    /// People who may this, and attempts.
    PersonOrAttempt(Permission),
}

/// What a success has beside its status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gives {
    /// Nothing, or nothing that is worth describing.
    Nothing,
    /// A value in JSON, by the name of its shape in [`super::shapes`].
    Shape(&'static str),
    /// Bytes of this type.
    Bytes(&'static str),
}

/// What is said of a value after the `?` of an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Query {
    /// What it is called.
    pub name: &'static str,
    /// What it is.
    pub is: Kind,
    /// Whether the call can't do without.
    pub required: bool,
    /// What it means.
    pub says: &'static str,
}

/// What a value in an address is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Any text: names, ids.
    Text,
    /// A number from 0.
    Whole,
    /// `true` or `false`.
    Truth,
}

/// Where people have to have the role that a call asks for. One that they have further out counts as well: on the server for
/// its projects, in a project for its environments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum About {
    /// On the server.
    Server,
    /// In the project.
    Project,
    /// In the environment.
    Environment,
}

/// One call.
#[derive(Debug, Clone, Copy)]
pub struct Call {
    /// The method.
    pub method: &'static str,
    /// The path, with names in braces for what it is about.
    pub path: &'static str,
    /// Who may.
    pub gate: Gate,
    /// Where, of people.
    pub about: About,
    /// What it does, in a sentence.
    pub says: &'static str,
    /// What may follow the path. Whatever else comes there is refused before the call begins: what is not described does not
    /// work.
    pub queries: &'static [Query],
    /// The name of the body's shape in [`super::shapes`], if it takes one.
    pub takes: Option<&'static str>,
    /// The status of a success, and what it has.
    pub gives: (u16, Gives),
    /// Other statuses of successes: with the same, or with nothing.
    pub also: &'static [u16],
}

impl Call {
    const fn new(method: &'static str, path: &'static str, gate: Gate, says: &'static str) -> Self {
        let about = About::Server;
        Self {
            method,
            path,
            gate,
            about,
            says,
            queries: &[],
            takes: None,
            gives: (200, Gives::Nothing),
            also: &[],
        }
    }

    /// The name of the shape that a success has, if it is a value.
    pub const fn shape(&self) -> Option<&'static str> {
        match self.gives.1 {
            Gives::Shape(shape) => Some(shape),
            Gives::Nothing | Gives::Bytes(_) => None,
        }
    }

    const fn in_project(mut self) -> Self {
        self.about = About::Project;
        self
    }

    const fn in_environment(mut self) -> Self {
        self.about = About::Environment;
        self
    }

    const fn asks(mut self, queries: &'static [Query]) -> Self {
        self.queries = queries;
        self
    }

    const fn takes(mut self, shape: &'static str) -> Self {
        self.takes = Some(shape);
        self
    }

    const fn gives(mut self, status: u16, shape: &'static str) -> Self {
        self.gives = (status, Gives::Shape(shape));
        self
    }

    const fn bytes(mut self) -> Self {
        self.gives = (200, Gives::Bytes("application/octet-stream"));
        self
    }

    const fn text(mut self) -> Self {
        self.gives = (200, Gives::Bytes("text/plain"));
        self
    }

    const fn nothing(mut self) -> Self {
        self.gives = (204, Gives::Nothing);
        self
    }

    const fn also(mut self, statuses: &'static [u16]) -> Self {
        self.also = statuses;
        self
    }
}

/// The call that a request is, by its method and the pattern of its path.
pub(super) fn call(method: &str, path: &str) -> Option<&'static Call> {
    let method = if method == "HEAD" { "GET" } else { method };
    CALLS.iter().find(|call| call.path == path && call.method == method)
}

const fn text(name: &'static str, says: &'static str) -> Query {
    Query { name, is: Kind::Text, required: false, says }
}

const fn whole(name: &'static str, says: &'static str) -> Query {
    Query { name, is: Kind::Whole, required: false, says }
}

const LIMIT: Query = whole("limit", "How many at most.");
const WAIT: Query = Query {
    name: "wait",
    is: Kind::Truth,
    required: false,
    says: "Whether the answer may wait until there is something.",
};
const OFFSET: Query = whole("offset", "The first byte, counted from 0; from the beginning if not given.");
const TURN: Query = whole("turn", "Which of the machine's runners asks: what `turn` gave it.");
const AFTER: Query = text("after", "Those that come after this one: what the page before gave as `next`.");
const PAGED: &[Query] = &[AFTER, LIMIT];
const TWO: &[Query] = &[
    Query { name: "from", is: Kind::Text, required: true, says: "The release before." },
    text("to", "The release after; the latest if not given."),
];

const fn get(path: &'static str, gate: Gate, says: &'static str) -> Call {
    Call::new("GET", path, gate, says)
}

const fn post(path: &'static str, gate: Gate, says: &'static str) -> Call {
    Call::new("POST", path, gate, says)
}

const fn put(path: &'static str, gate: Gate, says: &'static str) -> Call {
    Call::new("PUT", path, gate, says)
}

const fn delete(path: &'static str, gate: Gate, says: &'static str) -> Call {
    Call::new("DELETE", path, gate, says)
}

use Gate::{Everybody, Person, Proof};

/// All of them.
pub const CALLS: &[Call] = &[
    get("/api/v1/projects", Gate::SignedIn, "The projects that the caller may see.")
    .asks(PAGED)
    .gives(200, "ProjectPage"),
    post("/api/v1/projects", Person(Administer), "Adds a project.").takes("ProjectAsked").gives(201, "Project"),
    get("/api/v1/projects/{project}", Person(See), "A project with its settings.").gives(200, "Project").in_project(),
    Call::new("PATCH", "/api/v1/projects/{project}", Person(Administer), "Changes a project's settings.")
        .takes("ProjectPart").gives(200, "Project").in_project(),
    delete("/api/v1/projects/{project}", Person(Administer), "Removes a project.").nothing(),
    get("/api/v1/projects/{project}/arrivals", Person(See), "What happened at a project's repository.")
    .asks(PAGED)
    .gives(200, "ArrivalPage")
    .in_project(),
    get(
        "/api/v1/projects/{project}/arrivals/{arrival}",
        Person(See),
        "One thing that happened, and what came of it.",
    ).gives(200, "Arrival").in_project(),
    post("/api/v1/projects/{project}/approvals", Person(Administer), "Lets a fork's code run.")
        .takes("ApprovalAsked").gives(200, "Approved").in_project(),
    post("/api/v1/projects/{project}/explain", Person(See), "What a happening would run, and why.")
        .takes("ExplainAsked").gives(200, "Explanation").in_project(),
    post("/api/v1/projects/{project}/pushes", Person(Run), "A repository's own hook says what was pushed.")
    .gives(202, "Arrived")
    .in_project(),
    post("/api/v1/projects/{project}/runs", Person(Run), "Asks for a run.")
    .takes("RunAsked")
    .gives(202, "Arrived")
    .in_project(),
    post("/hooks/{project}/{forge}", Proof, "A forge says what happened, signed by the project's secret.")
    .gives(202, "Arrived"),
    get("/healthz", Everybody, "Whether the process answers.").text(),
    get("/readyz", Everybody, "Whether it can read its database.").text(),
    get("/metrics", Everybody, "Figures for Prometheus.").text(),
    get("/api/v1/status", Gate::SignedIn, "What the server is, its runners and its queue, in figures.")
        .gives(200, "ServerStatus"),
    get("/api/v1/openapi.json", Everybody, "This description.").gives(200, "Description"),
    get(
        "/api/v1/audit",
        Person(Administer),
        "What was done, by whom and when, the oldest first.",
    )
    .gives(200, "AuditPage").asks(PAGED),
    post(
        "/api/v1/enrolments",
        Person(Administer),
        "Makes a code by which one host becomes a runner; shown once.",
    )
    .takes("EnrolmentAsked")
    .gives(201, "EnrolmentMade"),
    get("/api/v1/runners", Person(See), "All runners, the newest first.").gives(200, "RunnerPage").asks(PAGED),
    post("/api/v1/runners", Proof, "A host becomes a runner, by a code and its key.")
        .takes("EnrolAsked")
        .gives(201, "Enrolled"),
    post("/api/v1/runners/{runner}/sessions", Proof, "A runner proves who it is.")
        .takes("SessionAsked")
        .gives(201, "Session"),
    post(
        "/api/v1/runners/{runner}/drain",
        Person(Administer),
        "The runner ends what it has and gets no more; a runner may ask it of itself.",
    )
    .nothing(),
    post(
        "/api/v1/runners/{runner}/resume",
        Person(Administer),
        "The runner gets jobs again; a runner may ask it of itself.",
    )
    .nothing(),
    post(
        "/api/v1/runners/{runner}/revoke",
        Person(Administer),
        "The runner's key counts for nothing, for good.",
    )
    .nothing(),
    get(
        "/api/v1/projects/{project}/secrets",
        Person(Administer),
        "The secrets of a project, never their values.",
    )
    .gives(200, "SecretPage").asks(PAGED).in_project(),
    put("/api/v1/projects/{project}/secrets/{secret}", Person(Administer), "Sets a secret.")
        .takes("SecretAsked")
        .nothing().in_project(),
    delete("/api/v1/projects/{project}/secrets/{secret}", Person(Administer), "Removes a secret.")
    .nothing()
    .asks(&[text("environment", "The environment that it is for; `forge` for the forge's.")])
    .in_project(),
    post(
        "/api/v1/projects/{project}/secrets/{secret}/rotate",
        Person(Administer),
        "Gives a secret that is there another value; whom it is for stays.",
    )
    .takes("RotationAsked")
    .gives(200, "Rotated").in_project(),
    post("/api/v1/secrets/rotate", Person(Administer), "Seals the secrets of all projects with a new key.")
        .gives(200, "Resealed"),
    get(
        "/api/v1/attempts/{attempt}/secrets",
        Gate::Attempt,
        "The secrets that the attempt's job names and may have.",
    )
    .gives(200, "SecretsGiven"),
    post(
        "/api/v1/claims",
        Gate::Runner,
        "A runner asks for a job. The answer may wait; 204 means that there was none.",
    )
    .takes("ClaimAsked")
    .gives(200, "Claimed").also(&[204]),
    post(
        "/api/v1/attempts/{attempt}/renew",
        Gate::Attempt,
        "The runner is there, and goes on having the job.",
    )
    .takes("RenewAsked")
    .gives(200, "Renewed"),
    post(
        "/api/v1/attempts/{attempt}/finish",
        Gate::Attempt,
        "The attempt has ended. Said again, it changes nothing.",
    )
    .takes("FinishAsked")
    .nothing(),
    put(
        "/api/v1/attempts/{attempt}/streams/{name}",
        Gate::Attempt,
        "Takes bytes of a stream from `offset` on, with `fence`.",
    )
    .gives(200, "StreamState").asks(&[
        Query { name: "offset", is: Kind::Whole, required: true, says: "Where in the stream the first byte belongs." },
        Query { name: "fence", is: Kind::Whole, required: true, says: "The fence of the attempt." },
    ]),
    get(
        "/api/v1/attempts/{attempt}/streams/{name}",
        Gate::PersonOrAttempt(See),
        "The bytes of a stream, whole, by range, or as they come. The attempt itself is told up to where they are kept.",
    ).asks(&[OFFSET]).bytes().also(&[206]).in_project(),
    get("/api/v1/attempts/{attempt}/source", Gate::Attempt, "The list of the files that the attempt builds.").bytes(),
    post(
        "/api/v1/attempts/{attempt}/source/contents",
        Gate::Attempt,
        "Contents of that list, by their ids, as frames.",
    )
    .takes("ContentsAsked").bytes(),
    put(
        "/api/v1/attempts/{attempt}/layer",
        Gate::Attempt,
        "Takes bytes of what a step left, from `offset` on; at 0 another layer begins.",
    )
    .gives(200, "StreamState").asks(&[OFFSET]),
    put(
        "/api/v1/attempts/{attempt}/steps/{step}",
        Gate::Attempt,
        "What a step of the attempt came to, for other runners. The bytes of its layer were sent before.",
    )
    .takes("StepGiven")
    .nothing(),
    get(
        "/api/v1/attempts/{attempt}/steps/{step}",
        Gate::Attempt,
        "What a step of the attempt's run came to, in whichever job.",
    )
    .gives(200, "StepCame"),
    get(
        "/api/v1/attempts/{attempt}/known/{key}",
        Gate::Attempt,
        "What a step with this key came to, in runs that are trusted as much as the attempt's or more.",
    )
    .gives(200, "StepCame"),
    get(
        "/api/v1/attempts/{attempt}/layers/{blob}",
        Gate::Attempt,
        "Bytes of a layer, from `offset` on, that a record names which the attempt may read.",
    ).asks(&[OFFSET]).bytes(),
    post(
        "/api/v1/attempts/{attempt}/streams/{name}/close",
        Gate::Attempt,
        "The stream has no more than this.",
    )
    .takes("CloseAsked")
    .gives(200, "StreamState"),
    get(
        "/api/v1/runs",
        Person(See),
        "Runs, the newest first.",
    )
    .gives(200, "RunPage").asks(&[
        text("project", "Only this project's."),
        whole("number", "Only the one with this number in its project."),
        text("state", "Only those that stand so."),
        AFTER,
        LIMIT,
    ]),
    get("/api/v1/runs/{run}", Person(See), "A run with its jobs and their attempts.")
    .gives(200, "RunView")
    .in_project(),
    get("/api/v1/runs/{run}/streams", Person(See), "The streams of a run.").gives(200, "RunStreams").in_project(),
    post("/api/v1/runs/{run}/cancel", Person(Run), "Ends a run.")
        .takes("CancelAsked")
        .gives(200, "RunView").in_project(),
    post("/api/v1/runs/{run}/retry", Person(Run), "What did not pass in a run is tried again.")
        .gives(200, "RunView").in_project(),
    get("/api/v1/projects/{project}/releases", Person(See), "The releases of a project, the newest first.")
        .gives(200, "ReleasePage").asks(PAGED).in_project(),
    post("/api/v1/projects/{project}/releases", Person(Release), "Makes a release of what a run packed.")
        .takes("ReleaseAsked")
        .gives(201, "Release").also(&[200, 202]).in_project(),
    get(
        "/api/v1/projects/{project}/releases/{release}",
        Person(See),
        "A release: by its number, the beginning of its digest, or its package's version.",
    )
    .gives(200, "Release").in_project(),
    get(
        "/api/v1/projects/{project}/comparison",
        Person(See),
        "What the releases `from` and `to` differ in: package, files, and what each environment is given.",
    )
    .gives(200, "Comparison").asks(TWO).in_project(),
    get(
        "/api/v1/projects/{project}/notes",
        Person(See),
        "What is new in the release `to` since `from`: the commits between, by kind, with work items and people.",
    )
    .gives(200, "ReleaseNotes").asks(TWO).in_project(),
    get(
        "/api/v1/projects/{project}/metrics",
        Person(See),
        "How often, how fast and how well environments are released to.",
    )
    .gives(200, "ReleaseMetrics")
    .asks(&[text("environment", "Only this one."), whole("days", "So many days back; 30 if not given.")])
    .in_project(),
    get(
        "/api/v1/projects/{project}/whereabouts",
        Person(See),
        "Which machines serve what, as the ledgers have it.",
    )
    .gives(200, "Whereabouts").asks(&[
        text("environment", "Only this one."),
        text("commit", "Only what was made of this one: its id, or the beginning of it."),
        text("target", "Only this machine."),
    ]).in_project(),
    get("/api/v1/projects/{project}/environments", Person(See), "How the environments of a project stand.")
    .gives(200, "Environments")
    .in_project(),
    get(
        "/api/v1/projects/{project}/environments/{environment}",
        Person(See),
        "How an environment stands: what serves, what is under way, what protects it.",
    ).gives(200, "Environment").in_environment(),
    get(
        "/api/v1/projects/{project}/environments/{environment}/run-book",
        Person(See),
        "How an environment is released to, as a page: by the newest release's runner.toml, or that of `release`.",
    )
    .gives(200, "RunBook")
    .asks(&[text("release", "Whose runner.toml; the newest release's if not given.")])
    .in_environment(),
    get(
        "/api/v1/projects/{project}/environments/{environment}/ledger",
        Person(See),
        "All that happened in an environment, entry by entry.",
    ).gives(200, "LedgerEntries").in_environment(),
    put(
        "/api/v1/projects/{project}/environments/{environment}/protection",
        Person(Administer),
        "Says what protects an environment.",
    )
    .takes("EnvironmentRules")
    .nothing().in_environment(),
    delete(
        "/api/v1/projects/{project}/environments/{environment}/protection",
        Person(Administer),
        "Takes back what was said to protect an environment.",
    )
    .nothing().in_environment(),
    post(
        "/api/v1/projects/{project}/environments/{environment}/plans",
        Person(Release),
        "Looks what a deployment would do; 202 if the deployer has not said yet.",
    )
    .takes("DeployAsked")
    .gives(200, "OrderSeen").also(&[202]).in_environment(),
    post(
        "/api/v1/projects/{project}/environments/{environment}/deployments",
        Person(Release),
        "Asks for a deployment.",
    )
    .takes("DeployAsked")
    .gives(200, "OrderSeen").also(&[202]).in_environment(),
    post(
        "/api/v1/projects/{project}/environments/{environment}/rollbacks",
        Person(Release),
        "Goes back to what was there.",
    )
    .takes("RollbackAsked")
    .gives(200, "OrderSeen").also(&[202]).in_environment(),
    post(
        "/api/v1/projects/{project}/environments/{environment}/votes",
        Person(Release),
        "Says yes or no to the plan of a deployment that waits.",
    )
    .takes("VoteAsked")
    .gives(200, "OrderSeen").also(&[202]).in_environment(),
    post(
        "/api/v1/projects/{project}/environments/{environment}/overrides",
        Person(Administer),
        "Lets a deployment that waits go past what protects the environment, or one that stopped go back below the \
         rollback floor; with a reason, for its plan.",
    )
    .takes("OverrideAsked")
    .gives(200, "OrderSeen").also(&[202]).in_environment(),
    post(
        "/api/v1/projects/{project}/environments/{environment}/swaps",
        Person(Release),
        "Gives the requests to the other pool, with what that runs and what has served there before.",
    )
    .takes("SwapAsked")
    .gives(200, "OrderSeen").also(&[202]).in_environment(),
    post(
        "/api/v1/projects/{project}/environments/{environment}/asks",
        Person(Release),
        "Wants something of the deployment that is under way: its end, a pause, another try.",
    )
    .takes("WishAsked")
    .gives(200, "OrderSeen").also(&[202]).in_environment(),
    post(
        "/api/v1/projects/{project}/environments/{environment}/lifts",
        Person(Release),
        "Lets runs release there again, after somebody went back.",
    )
    .takes("LiftAsked")
    .gives(200, "OrderSeen").also(&[202]).in_environment(),
    post(
        "/api/v1/projects/{project}/environments/{environment}/quarantines",
        Person(Release),
        "Takes a machine out of deployments, with a reason, or puts it back.",
    )
    .takes("QuarantineAsked")
    .gives(200, "OrderSeen").also(&[202]).in_environment(),
    get(
        "/api/v1/projects/{project}/orders/{order}",
        Person(See),
        "What somebody asked for, and what the deployer made of it.",
    )
    .gives(200, "OrderSeen").in_project(),
    get(
        "/api/v1/deployer/orders",
        Gate::Deployer,
        "What is to be done after order `after`, and what protects environments. With `wait`, the answer may wait.",
    ).asks(&[whole("after", "Only orders after this one; those before were heard."), WAIT]).gives(200, "Orders"),
    post(
        "/api/v1/deployer/orders/{order}",
        Gate::Deployer,
        "What became of an order. Said again, it changes nothing.",
    )
    .takes("OrderAnswer")
    .nothing(),
    post("/api/v1/deployer/ledger", Gate::Deployer, "More of an environment's ledger.")
        .takes("LedgerPart")
        .gives(200, "LedgerHad"),
    post(
        "/api/v1/deployer/secrets",
        Gate::Deployer,
        "Secrets of an environment that a release there names and may have.",
    )
    .takes("ReleaseSecretsAsked")
    .gives(200, "ReleaseSecrets"),
    put(
        "/api/v1/deployer/tunnels/{tunnel}",
        Gate::Deployer,
        "Begins to speak to a machine that pulls; answered when the program runs there. Said again, it changes nothing.",
    )
    .takes("TunnelWanted")
    .nothing(),
    put(
        "/api/v1/deployer/tunnels/{tunnel}/down",
        Gate::Deployer,
        "Says bytes to the machine, from `offset` on. The answer waits while there is no room.",
    )
    .gives(200, "TunnelNext").asks(&[OFFSET]),
    get(
        "/api/v1/deployer/tunnels/{tunnel}/up",
        Gate::Deployer,
        "The bytes that the machine said, from `offset` on; those before have arrived. With `wait`, the answer may wait.",
    ).asks(&[OFFSET, WAIT]).bytes().also(&[204]),
    post("/api/v1/deployer/tunnels/{tunnel}/end", Gate::Deployer, "Ends a tunnel.")
        .takes("TunnelEnd")
        .nothing(),
    post(
        "/api/v1/target/turn",
        Gate::Target,
        "A machine's runner begins; what another one with the same key has is over.",
    )
    .gives(200, "TargetTurn"),
    post(
        "/api/v1/target/tunnels",
        Gate::Target,
        "The tunnels that the machine is to have. The answer waits while the runner has all of them and no other.",
    )
    .takes("TunnelsAsked")
    .gives(200, "TunnelsTold"),
    get(
        "/api/v1/target/tunnels/{tunnel}/down",
        Gate::Target,
        "The bytes that the deployer said, from `offset` on, in the runner's `turn`.",
    ).asks(&[OFFSET, WAIT, TURN]).bytes().also(&[204]),
    put(
        "/api/v1/target/tunnels/{tunnel}/up",
        Gate::Target,
        "Says bytes to the deployer, from `offset` on, in the runner's `turn`.",
    )
    .gives(200, "TunnelNext").asks(&[OFFSET, TURN]),
    post("/api/v1/target/tunnels/{tunnel}/end", Gate::Target, "Ends a tunnel: the program has ended.")
        .takes("TunnelEnd")
        .nothing().asks(&[OFFSET, TURN]),
    get("/api/v1/tokens", Person(Administer), "All tokens of people, never what they are.")
        .gives(200, "TokenPage").asks(PAGED),
    post("/api/v1/tokens", Person(Administer), "Makes a token; shown once.")
        .takes("TokenAsked")
        .gives(201, "TokenMade"),
    delete("/api/v1/tokens/{token}", Person(Administer), "The token counts for nothing from now on.")
        .nothing(),
];
