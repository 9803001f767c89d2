//! A certificate that is made for one run, and trusted by its clients alone.

use openssl::asn1::Asn1Time;
use openssl::ec::{EcGroup, EcKey};
use openssl::error::ErrorStack;
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::PKey;
use openssl::ssl::{SslAcceptor, SslConnector, SslMethod};
use openssl::x509::extension::{BasicConstraints, SubjectAlternativeName};
use openssl::x509::{X509, X509Builder, X509NameBuilder};

use crate::server::acceptor_builder;

/// The name that the certificate is for.
pub(super) const NAME: &str = "localhost";

/// Version 3, which counts from zero.
const VERSION: i32 = 2;

/// What a server with a new certificate (P-256, as most have one) accepts by, and the certificate in PEM.
pub(super) fn acceptor() -> Result<(SslAcceptor, String), ErrorStack> {
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1)?;
    let key = PKey::from_ec_key(EcKey::generate(&group)?)?;
    let mut name = X509NameBuilder::new()?;
    name.append_entry_by_text("CN", NAME)?;
    let name = name.build();
    let mut builder = X509Builder::new()?;
    builder.set_version(VERSION)?;
    builder.set_subject_name(&name)?;
    builder.set_issuer_name(&name)?;
    builder.set_pubkey(&key)?;
    builder.set_not_before(&*Asn1Time::days_from_now(0)?)?;
    builder.set_not_after(&*Asn1Time::days_from_now(2)?)?;
    builder.append_extension(BasicConstraints::new().critical().ca().build()?)?;
    let names = SubjectAlternativeName::new().dns(NAME).build(&builder.x509v3_context(None, None))?;
    builder.append_extension(names)?;
    builder.sign(&key, MessageDigest::sha256())?;
    let certificate = builder.build();
    let mut acceptor = acceptor_builder()?;
    acceptor.set_certificate(&certificate)?;
    acceptor.set_private_key(&key)?;
    let pem = String::from_utf8_lossy(&certificate.to_pem()?).into_owned();
    Ok((acceptor.build(), pem))
}

/// What clients that trust the certificate connect by.
pub(super) fn connector(pem: &str) -> Result<SslConnector, ErrorStack> {
    let mut builder = SslConnector::builder(SslMethod::tls_client())?;
    builder.cert_store_mut().add_cert(X509::from_pem(pem.as_bytes())?)?;
    Ok(builder.build())
}
