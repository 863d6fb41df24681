//! A proxy within the test, in front of one application.

use std::{net::SocketAddr, sync::Arc};

use staith_releaser::proxy::{Limits, Routes, Upstream, serve};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::app::App;

/// A proxy before which nothing is released yet.
pub async fn proxy(limits: Limits) -> (SocketAddr, Arc<Routes>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let routes = Arc::new(Routes::new());
    tokio::spawn(serve(listener, Arc::clone(&routes), limits, CancellationToken::new()));
    (address, routes)
}

/// An application as an upstream that accepts connections.
pub async fn upstream(app: &App) -> Arc<Upstream> {
    let upstream = Upstream::new();
    upstream.point_at(Some(app.address));
    upstream.accepting().await;
    upstream
}

/// A proxy before an application.
pub async fn proxied(limits: Limits) -> (SocketAddr, App) {
    let (address, routes) = proxy(limits).await;
    let app = App::start("r1").await;
    routes.switch(upstream(&app).await);
    (address, app)
}
