//! Photos in, fingerprints out, through the transform's own interface.

// A test fails by panicking.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::io::Cursor;
use std::path::Path;

use alluvium_plugin::Value;
use alluvium_plugin::testing::{Made, Rows, run};
use fingerprint_image::{DIM, FingerprintImage};
use image::codecs::jpeg::JpegEncoder;
use image::imageops::FilterType;
use image::{DynamicImage, ImageFormat, Rgb, RgbImage};

const PHOTOS: [&str; 9] = [
    "astronaut.png",
    "brick.png",
    "camera.png",
    "chelsea.png",
    "coffee.png",
    "hubble_deep_field.jpg",
    "page.png",
    "retina.jpg",
    "rocket.jpg",
];

fn photo(name: &str) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../demo/photos");
    std::fs::read(folder.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn apply<C: alluvium_plugin::Cell>(images: impl IntoIterator<Item = C>) -> Made {
    run::<FingerprintImage>("{}", &Rows::new().column("image", images)).unwrap()
}

/// The hashes and vectors of pictures.
fn fingerprints(images: Vec<Vec<u8>>) -> Vec<(i64, Vec<f32>)> {
    let made = apply(images);
    assert!(made.failures.is_empty(), "{:?}", made.failures);
    let hashes = made.column("hash").unwrap().iter();
    let vectors = made.column("vector").unwrap().iter();
    hashes
        .zip(vectors)
        .map(|(hash, vector)| (hash.as_i64().unwrap(), vector.as_vector().unwrap().to_vec()))
        .collect()
}

fn encode(image: &DynamicImage, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    image.write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

fn cosine(one: &[f32], other: &[f32]) -> f32 {
    one.iter().zip(other).map(|(one, other)| one * other).sum()
}

/// The photos, and copies of them that were changed.
fn with_copies(copy: impl Fn(DynamicImage) -> Vec<u8>) -> [Vec<(i64, Vec<f32>)>; 2] {
    let photos: Vec<_> = PHOTOS.map(photo).into();
    let copies = photos
        .iter()
        .map(|photo| copy(image::load_from_memory(photo).unwrap()))
        .collect();
    [fingerprints(photos), fingerprints(copies)]
}

#[track_caller]
fn assert_copies_are_near(copy: impl Fn(DynamicImage) -> Vec<u8>) {
    let [photos, copies] = with_copies(copy);
    for (name, (photo, copy)) in PHOTOS.iter().zip(photos.iter().zip(&copies)) {
        let bits = (photo.0 ^ copy.0).count_ones();
        let cosine = cosine(&photo.1, &copy.1);
        assert!(bits <= 10, "{name}: {bits} bits");
        assert!(cosine > 0.97, "{name}: a cosine of {cosine}");
    }
}

#[test]
fn a_copy_encoded_anew_is_near() {
    assert_copies_are_near(|photo| {
        let mut bytes = Vec::new();
        let encoder = JpegEncoder::new_with_quality(&mut bytes, 40);
        photo.to_rgb8().write_with_encoder(encoder).unwrap();
        bytes
    });
    assert_copies_are_near(|photo| encode(&photo, ImageFormat::WebP));
}

#[test]
fn a_smaller_copy_is_near_and_a_stretched_one() {
    assert_copies_are_near(|photo| {
        let (width, height) = (photo.width() / 3, photo.height() / 3);
        encode(
            &photo.resize(width, height, FilterType::Triangle),
            ImageFormat::Png,
        )
    });
    assert_copies_are_near(|photo| {
        encode(
            &photo.resize_exact(300, 200, FilterType::Lanczos3),
            ImageFormat::Png,
        )
    });
}

#[test]
fn a_brighter_copy_is_near_and_a_darker_one() {
    assert_copies_are_near(|photo| encode(&photo.brighten(15), ImageFormat::Png));
    assert_copies_are_near(|photo| encode(&photo.brighten(-15), ImageFormat::Png));
}

#[test]
fn different_photos_are_far() {
    let photos = fingerprints(PHOTOS.map(photo).into());
    for (index, (hash, vector)) in photos.iter().enumerate() {
        for (other, (other_hash, other_vector)) in photos.iter().enumerate().skip(index + 1) {
            let names = (PHOTOS[index], PHOTOS[other]);
            let bits = (hash ^ other_hash).count_ones();
            assert!(bits >= 18, "{names:?}: {bits} bits");
            let cosine = cosine(vector, other_vector);
            assert!(cosine < 0.9, "{names:?}: a cosine of {cosine}");
        }
    }
}

#[test]
fn a_mirrored_photo_is_another() {
    let [photos, mirrored] = with_copies(|photo| encode(&photo.fliph(), ImageFormat::Png));
    let bits = photos.iter().zip(&mirrored);
    let bits: u32 = bits
        .map(|(one, other)| (one.0 ^ other.0).count_ones())
        .sum();
    assert!(bits > 20 * PHOTOS.len() as u32, "{bits} bits in all");
}

#[test]
fn the_turn_that_a_viewer_makes_is_made() {
    let cat = image::load_from_memory(&photo("chelsea.png")).unwrap();
    let jpeg = encode(
        &DynamicImage::from(cat.rotate270().to_rgb8()),
        ImageFormat::Jpeg,
    );
    // An EXIF block that says: turn it by 90 degrees.
    let mut turned = jpeg[..2].to_vec();
    turned.extend(b"\xff\xe1\0\x22Exif\0\0MM\0\x2a\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06");
    turned.extend([0; 6]);
    turned.extend(&jpeg[2..]);
    let prints = fingerprints(vec![photo("chelsea.png"), turned]);
    assert!((prints[0].0 ^ prints[1].0).count_ones() <= 4);
}

#[test]
fn vectors_have_length_1_even_where_nothing_is_to_be_seen() {
    let flat = |shade| DynamicImage::from(RgbImage::from_pixel(20, 10, Rgb([shade; 3])));
    let shades = [0, 128, 255].map(|shade| encode(&flat(shade), ImageFormat::Png));
    let pictures = shades.into_iter().chain(PHOTOS.map(photo));
    for (_, vector) in fingerprints(pictures.collect()) {
        assert_eq!(vector.len(), DIM);
        assert!((cosine(&vector, &vector) - 1.0).abs() < 1e-5);
    }
}

#[test]
fn transparency_shows_white() {
    let see_through = image::RgbaImage::from_fn(64, 64, |x, y| {
        image::Rgba([0, 0, 0, if (x / 8 + y / 16) % 2 == 0 { 255 } else { 0 }])
    });
    let on_white = RgbImage::from_fn(64, 64, |x, y| {
        Rgb([if (x / 8 + y / 16) % 2 == 0 { 0 } else { 255 }; 3])
    });
    let prints = fingerprints(vec![
        encode(&see_through.into(), ImageFormat::Png),
        encode(&on_white.into(), ImageFormat::Png),
    ]);
    assert!((cosine(&prints[0].1, &prints[1].1) - 1.0).abs() < 1e-3);
}

#[test]
fn a_null_has_no_fingerprint_and_what_is_no_picture_fails_alone() {
    let cat = photo("chelsea.png");
    let images = [Some(cat.clone()), None, Some(b"no".to_vec()), Some(cat)];
    let made = apply(images);
    assert_eq!(made.origin, [0, 1, 3]);
    assert_eq!(made.failures[0].0, 2);
    assert!(made.failures[0].1.contains("not a PNG"));
    let hashes = made.column("hash").unwrap();
    assert_eq!(hashes[1], Value::Null);
    assert_eq!(hashes[0], hashes[2]);
}

#[test]
fn a_picture_beyond_the_limit_fails() {
    let rows = Rows::new().column("image", [photo("chelsea.png")]);
    let made = run::<FingerprintImage>(r#"{"max_pixels": 1000}"#, &rows).unwrap();
    assert!(made.failures[0].1.contains("max_pixels"));
}
