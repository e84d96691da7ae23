// Bouncy Castle's view of hybrid certificates: it verifies those of others, and makes its own.
//
//   Judge certificate FILE ISSUER   both signatures of a certificate, by the keys in its issuer's
//   Judge crl FILE ISSUER           both signatures of a revocation list
//   Judge request FILE              both signatures of a request, by the keys in it
//   Judge make DIR LEVEL            root.pem, leaf.pem, crl.pem and request.pem of its own, with ECDSA P-256 and LEVEL
//
// Prints "classical true" and "alternative true", or what else it found.

import java.io.FileReader;
import java.io.FileWriter;
import java.math.BigInteger;
import java.nio.file.Path;
import java.security.KeyPair;
import java.security.KeyPairGenerator;
import java.security.PrivateKey;
import java.security.PublicKey;
import java.security.Security;
import java.security.spec.ECGenParameterSpec;
import java.util.Date;
import org.bouncycastle.asn1.ASN1Encodable;
import org.bouncycastle.asn1.x500.X500Name;
import org.bouncycastle.asn1.x509.BasicConstraints;
import org.bouncycastle.asn1.x509.ExtendedKeyUsage;
import org.bouncycastle.asn1.x509.Extension;
import org.bouncycastle.asn1.x509.ExtensionsGenerator;
import org.bouncycastle.asn1.x509.GeneralName;
import org.bouncycastle.asn1.x509.GeneralNames;
import org.bouncycastle.asn1.x509.KeyPurposeId;
import org.bouncycastle.asn1.x509.KeyUsage;
import org.bouncycastle.asn1.x509.SubjectAltPublicKeyInfo;
import org.bouncycastle.asn1.x509.SubjectPublicKeyInfo;
import org.bouncycastle.asn1.pkcs.PKCSObjectIdentifiers;
import org.bouncycastle.cert.X509CRLHolder;
import org.bouncycastle.cert.X509CertificateHolder;
import org.bouncycastle.cert.X509v2CRLBuilder;
import org.bouncycastle.cert.X509v3CertificateBuilder;
import org.bouncycastle.cert.jcajce.JcaX509v3CertificateBuilder;
import org.bouncycastle.jce.provider.BouncyCastleProvider;
import org.bouncycastle.openssl.PEMParser;
import org.bouncycastle.openssl.jcajce.JcaPEMWriter;
import org.bouncycastle.openssl.jcajce.JcaPEMKeyConverter;
import org.bouncycastle.operator.ContentSigner;
import org.bouncycastle.operator.ContentVerifierProvider;
import org.bouncycastle.operator.jcajce.JcaContentSignerBuilder;
import org.bouncycastle.operator.jcajce.JcaContentVerifierProviderBuilder;
import org.bouncycastle.pkcs.PKCS10CertificationRequest;
import org.bouncycastle.pkcs.jcajce.JcaPKCS10CertificationRequestBuilder;

public class Judge {
    private static final long DAY = 86_400_000L;

    public static void main(String[] arguments) throws Exception {
        Security.addProvider(new BouncyCastleProvider());
        switch (arguments[0]) {
            case "certificate" -> {
                X509CertificateHolder certificate = read(arguments[1]);
                X509CertificateHolder issuer = read(arguments[2]);
                report(
                    certificate.isSignatureValid(verifier(issuer.getSubjectPublicKeyInfo())),
                    certificate.isAlternativeSignatureValid(verifier(alternative(issuer))));
            }
            case "crl" -> {
                X509CRLHolder list = read(arguments[1]);
                X509CertificateHolder issuer = read(arguments[2]);
                report(
                    list.isSignatureValid(verifier(issuer.getSubjectPublicKeyInfo())),
                    list.isAlternativeSignatureValid(verifier(alternative(issuer))));
            }
            case "request" -> {
                PKCS10CertificationRequest request = read(arguments[1]);
                ASN1Encodable key =
                    request.getAttributes(Extension.subjectAltPublicKeyInfo)[0].getAttrValues().getObjectAt(0);
                report(
                    request.isSignatureValid(verifier(request.getSubjectPublicKeyInfo())),
                    request.isAltSignatureValid(verifier(SubjectPublicKeyInfo.getInstance(key.toASN1Primitive()))));
            }
            case "make" -> make(Path.of(arguments[1]), arguments[2]);
            default -> throw new IllegalArgumentException(arguments[0]);
        }
    }

    private static void report(boolean classical, boolean alternative) {
        System.out.println("classical " + classical);
        System.out.println("alternative " + alternative);
    }

    @SuppressWarnings("unchecked")
    private static <T> T read(String file) throws Exception {
        try (PEMParser parser = new PEMParser(new FileReader(file))) {
            return (T) parser.readObject();
        }
    }

    private static SubjectPublicKeyInfo alternative(X509CertificateHolder certificate) {
        ASN1Encodable value = SubjectAltPublicKeyInfo.fromExtensions(certificate.getExtensions());
        return SubjectPublicKeyInfo.getInstance(value.toASN1Primitive());
    }

    private static ContentVerifierProvider verifier(SubjectPublicKeyInfo key) throws Exception {
        PublicKey usable = new JcaPEMKeyConverter().setProvider("BC").getPublicKey(key);
        return new JcaContentVerifierProviderBuilder().setProvider("BC").build(usable);
    }

    private static ContentSigner signer(String algorithm, PrivateKey key) throws Exception {
        return new JcaContentSignerBuilder(algorithm).setProvider("BC").build(key);
    }

    private static KeyPair classicalKeys() throws Exception {
        KeyPairGenerator generator = KeyPairGenerator.getInstance("EC", "BC");
        generator.initialize(new ECGenParameterSpec("P-256"));
        return generator.generateKeyPair();
    }

    private static void make(Path folder, String level) throws Exception {
        KeyPair[] keys = {classicalKeys(), classicalKeys()};
        KeyPair[] alternatives = {
            KeyPairGenerator.getInstance(level, "BC").generateKeyPair(),
            KeyPairGenerator.getInstance(level, "BC").generateKeyPair()};
        ContentSigner classical = signer("SHA256withECDSA", keys[0].getPrivate());
        ContentSigner alternative = signer(level, alternatives[0].getPrivate());
        X500Name issuer = new X500Name("CN=A root by Bouncy Castle");
        Date begin = new Date(System.currentTimeMillis() - DAY);
        Date end = new Date(System.currentTimeMillis() + DAY);

        X509v3CertificateBuilder root =
            new JcaX509v3CertificateBuilder(issuer, BigInteger.ONE, begin, end, issuer, keys[0].getPublic())
                .addExtension(Extension.basicConstraints, true, new BasicConstraints(true))
                .addExtension(Extension.keyUsage, true, new KeyUsage(KeyUsage.keyCertSign | KeyUsage.cRLSign))
                .addExtension(Extension.subjectAltPublicKeyInfo, false,
                    SubjectAltPublicKeyInfo.getInstance(alternatives[0].getPublic().getEncoded()));
        write(folder, "root.pem", root.build(classical, false, alternative));

        GeneralNames names = new GeneralNames(new GeneralName(GeneralName.dNSName, "a.example"));
        X509v3CertificateBuilder leaf = new JcaX509v3CertificateBuilder(
                issuer, BigInteger.TWO, begin, end, new X500Name("CN=a.example"), keys[1].getPublic())
            .addExtension(Extension.basicConstraints, true, new BasicConstraints(false))
            .addExtension(Extension.keyUsage, true, new KeyUsage(KeyUsage.digitalSignature))
            .addExtension(Extension.extendedKeyUsage, false, new ExtendedKeyUsage(KeyPurposeId.id_kp_serverAuth))
            .addExtension(Extension.subjectAlternativeName, false, names)
            .addExtension(Extension.subjectAltPublicKeyInfo, false,
                SubjectAltPublicKeyInfo.getInstance(alternatives[1].getPublic().getEncoded()));
        write(folder, "leaf.pem", leaf.build(classical, false, alternative));

        X509v2CRLBuilder list = new X509v2CRLBuilder(issuer, begin);
        list.setNextUpdate(end);
        list.addCRLEntry(BigInteger.TWO, begin, 0);
        write(folder, "crl.pem", list.build(classical, false, alternative));

        ExtensionsGenerator wanted = new ExtensionsGenerator();
        wanted.addExtension(Extension.subjectAlternativeName, false, names);
        PKCS10CertificationRequest request =
            new JcaPKCS10CertificationRequestBuilder(new X500Name("CN=a.example"), keys[1].getPublic())
                .addAttribute(PKCSObjectIdentifiers.pkcs_9_at_extensionRequest, wanted.generate())
                .build(
                    signer("SHA256withECDSA", keys[1].getPrivate()),
                    SubjectPublicKeyInfo.getInstance(alternatives[1].getPublic().getEncoded()),
                    signer(level, alternatives[1].getPrivate()));
        write(folder, "request.pem", request);
    }

    private static void write(Path folder, String name, Object what) throws Exception {
        try (JcaPEMWriter writer = new JcaPEMWriter(new FileWriter(folder.resolve(name).toFile()))) {
            writer.writeObject(what);
        }
    }
}
