//! The encryption of connections, and its failures.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::{
    WebPkiSupportedAlgorithms, ring, verify_tls12_signature, verify_tls13_signature,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use tokio_postgres::Config;

use crate::store::postgres::ssl_mode::SslMode;

/// How an error of the `tokio-postgres` crate begins if the TLS handshake has failed. The crate shows
/// the kind of its errors in no other way.
const HANDSHAKE_FAILED: &str = "error performing TLS handshake";

/// How the connections to a database are encrypted.
#[derive(Clone, Debug)]
pub(super) struct Encryption {
    pub(super) mode: SslMode,
    /// The host that decides the mode, if the URL has no `sslmode`.
    decided_by: Option<String>,
    /// The file of roots.
    roots: Option<PathBuf>,
}

impl Encryption {
    /// From the values of `sslmode` and `sslrootcert`, if the URL has them.
    pub(super) fn new(mode: Option<SslMode>, roots: Option<PathBuf>, config: &Config) -> Self {
        let (mode, decided_by) = match (mode, SslMode::by_default(config)) {
            // libpq ignores `sslmode` on a Unix-domain socket, too.
            (_, None) => (SslMode::Disable, None),
            (Some(mode), Some(_)) => (mode, None),
            (None, Some((mode, host))) => (mode, Some(host)),
        };
        Self {
            mode,
            decided_by,
            roots,
        }
    }

    /// Reads the roots, and returns the configuration of TLS. If that fails, the error is the reason.
    pub(super) fn client_config(&self) -> Result<ClientConfig, String> {
        let provider = ring::default_provider();
        let algorithms = provider.signature_verification_algorithms;
        let client = ClientConfig::builder_with_provider(Arc::new(provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?;
        let file = self.roots.as_deref();
        if self.mode == SslMode::VerifyFull {
            let roots = file.map_or_else(roots_of_system, roots_in)?;
            return Ok(client.with_root_certificates(roots).with_no_client_auth());
        }
        let file = file.filter(|_| self.mode != SslMode::Disable);
        let roots = file.map(roots_in).transpose()?;
        let verifier = Arc::new(AnyName { roots, algorithms });
        let client = client.dangerous();
        let client = client.with_custom_certificate_verifier(verifier);
        Ok(client.with_no_client_auth())
    }

    /// Whether to connect without TLS, after TLS has failed for this reason.
    ///
    /// As `prefer` in libpq. If the URL names a file of roots, the certificate must be checked, so that
    /// there is no connection without TLS.
    pub(super) fn may_connect_without_tls(&self, reason: &str) -> bool {
        let optional = self.mode == SslMode::Prefer && self.roots.is_none();
        optional && reason.starts_with(HANDSHAKE_FAILED)
    }

    /// The reason. If TLS failed and the URL has no `sslmode`, also the host that decided the mode.
    pub(super) fn explain(&self, reason: String) -> String {
        match &self.decided_by {
            Some(host) if reason.starts_with(HANDSHAKE_FAILED) => format!(
                "{reason} (sslmode={} is the default for {host}; `sslmode=` in the URL sets \
                 another one, `sslrootcert=FILE` the roots to trust)",
                self.mode
            ),
            _ => reason,
        }
    }
}

/// The certificates in a PEM file.
fn roots_in(file: &Path) -> Result<RootCertStore, String> {
    let with_file = |reason: String| format!("sslrootcert={}: {reason}", file.display());
    let pem = fs::read(file).map_err(|error| with_file(error.to_string()))?;
    let mut roots = RootCertStore::empty();
    for (number, root) in (1..).zip(CertificateDer::pem_slice_iter(&pem)) {
        // The errors of rustls would show bytes, or speak of the certificate of the database server.
        let damaged = || with_file(format!("certificate {number} in it cannot be read"));
        let root = root.map_err(|_| damaged())?;
        roots.add(root).map_err(|_| damaged())?;
    }
    if roots.is_empty() {
        let none = "there is no `-----BEGIN CERTIFICATE-----` in it";
        return Err(with_file(none.to_owned()));
    }
    Ok(roots)
}

/// The certificates that this machine trusts.
fn roots_of_system() -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    // A certificate that cannot be read is ignored.
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        let why = found.errors.first().map(|error| format!(" ({error})"));
        return Err(format!(
            "this machine has no root certificates for sslmode=verify-full{}; \
             `sslrootcert=FILE` in the URL names some",
            why.unwrap_or_default()
        ));
    }
    Ok(roots)
}

/// Checks a certificate as `require` and `verify-ca` do: for any host.
#[derive(Debug)]
struct AnyName {
    /// If there are any, one of these must have signed the certificate.
    roots: Option<RootCertStore>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for AnyName {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if let Some(roots) = &self.roots {
            verify_server_cert_signed_by_trust_anchor(
                &ParsedCertificate::try_from(certificate)?,
                roots,
                intermediates,
                now,
                self.algorithms.all,
            )?;
        }
        Ok(ServerCertVerified::assertion())
    }

    // In every mode the database server must have the key of its certificate: channel binding needs that.

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
