//! tower-sessions over fred: see ../../README.md for what each path does.

use std::time::Duration;

use axum::extract::DefaultBodyLimit;
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use fred::prelude::{ClientLike, Config, Pool, ServerConfig};
use fred::types::RespVersion;
use serde_json::{Value, json};
use tower_sessions::{Expiry, Session, SessionManagerLayer, session::Error};
use tower_sessions_redis_store::RedisStore;

type Reply = Result<Json<Value>, (StatusCode, String)>;

fn failed(error: Error) -> (StatusCode, String) {
    (StatusCode::INTERNAL_SERVER_ERROR, error.to_string())
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

async fn held(session: &Session) -> Reply {
    let mut held = json!({});
    for key in ["user", "value", "large"] {
        held[key] = session
            .get(key)
            .await
            .map_err(failed)?
            .unwrap_or(Value::Null);
    }
    Ok(Json(held))
}

async fn login(session: Session, body: String) -> Reply {
    session.cycle_id().await.map_err(failed)?;
    session.insert("user", body).await.map_err(failed)?;
    held(&session).await
}

async fn read(session: Session) -> Reply {
    held(&session).await
}

async fn put(session: Session, key: &str, body: String) -> Reply {
    session.insert(key, body).await.map_err(failed)?;
    held(&session).await
}

async fn touch(session: Session) -> Reply {
    session.load().await.map_err(failed)?;
    // The store renews only what it saves.
    session.save().await.map_err(failed)?;
    held(&session).await
}

async fn change_id(session: Session) -> Reply {
    session.cycle_id().await.map_err(failed)?;
    held(&session).await
}

async fn logout(session: Session) -> Reply {
    session.flush().await.map_err(failed)?;
    Ok(Json(json!({"user": null, "value": null, "large": null})))
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let server = match variable("REDIS_UNIX") {
        Some(path) => ServerConfig::new_unix_socket(path),
        None => {
            let port = variable("REDIS_PORT").ok_or("REDIS_PORT or REDIS_UNIX is needed")?;
            ServerConfig::new_centralized("127.0.0.1", port.parse()?)
        }
    };
    let config = Config {
        server,
        password: variable("REDIS_PASSWORD"),
        database: Some(
            variable("REDIS_DATABASE")
                .unwrap_or_default()
                .parse()
                .unwrap_or(0),
        ),
        version: match variable("RESP").as_deref() {
            Some("3") => RespVersion::RESP3,
            _ => RespVersion::RESP2,
        },
        ..Config::default()
    };
    // As the store's README shows: no reconnect policy.
    let pool = Pool::new(config, None, None, None, 4)?;
    pool.connect();
    pool.wait_for_connect().await?;
    let ttl: u64 = variable("SESSION_TTL")
        .ok_or("SESSION_TTL is needed")?
        .parse()?;
    let expiry = Expiry::OnInactivity(Duration::from_secs(ttl).try_into()?);
    let app = Router::new()
        .route("/login", post(login))
        .route("/read", get(read))
        .route("/update", post(|session, body| put(session, "value", body)))
        .route("/large", post(|session, body| put(session, "large", body)))
        .route("/touch", post(touch))
        .route("/change-id", post(change_id))
        .route("/logout", post(logout))
        .layer(
            SessionManagerLayer::new(RedisStore::new(pool))
                .with_secure(false)
                .with_expiry(expiry),
        )
        .layer(DefaultBodyLimit::max(1 << 20));
    let port: u16 = variable("PORT").ok_or("PORT is needed")?.parse()?;
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await?;
    axum::serve(listener, app).await?;
    Ok(())
}
