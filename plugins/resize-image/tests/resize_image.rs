//! Pictures in, pictures out, through the transform's own interface.

// A test fails by panicking.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::io::Cursor;
use std::path::Path;

use alluvium_plugin::{
    Assets, Batch, BytesBuilder, Column, Failure, Field, Kind, Output, Plan, Transform, field,
};
use image::{DynamicImage, GenericImageView, ImageFormat, Luma, Rgb, Rgba};
use resize_image::ResizeImage;

fn photo(name: &str) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../demo/photos");
    std::fs::read(folder.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn schema() -> Vec<Field> {
    vec![
        field("id", Kind::Int64, false, 0),
        field("image", Kind::Binary, true, 0),
    ]
}

fn no_assets(name: &str) -> Result<Vec<u8>, String> {
    Err(format!("no asset {name}"))
}

fn open(config: &str) -> Result<(ResizeImage, Plan), String> {
    ResizeImage::open(config, &schema(), &no_assets as &dyn Assets)
}

fn apply(config: &str, images: &[Option<&[u8]>]) -> Output {
    let (mut transform, _) = open(config).unwrap();
    let mut column = BytesBuilder::new(true);
    for image in images {
        column.push(*image).unwrap();
    }
    transform
        .apply(&Batch::new(images.len() as u32, vec![column.finish()]))
        .unwrap()
}

/// The rows of an output's `image` column.
fn images(output: &Output) -> Vec<Option<Vec<u8>>> {
    let Column {
        validity,
        offsets,
        data,
    } = output.columns[0].clone();
    let batch = Batch::new(
        output.rows,
        vec![Column {
            validity,
            offsets,
            data,
        }],
    );
    batch
        .bytes(0)
        .unwrap()
        .iter()
        .map(|image| image.map(<[u8]>::to_vec))
        .collect()
}

/// The rows of an output's `width` and `height` columns.
fn originals(output: &Output) -> Vec<(i32, i32)> {
    let numbers = |column: usize| {
        let data = output.columns[column].data.chunks_exact(4);
        data.map(|bytes| i32::from_le_bytes(bytes.try_into().unwrap()))
            .collect::<Vec<_>>()
    };
    numbers(1).into_iter().zip(numbers(2)).collect()
}

/// Resizes one picture that must succeed.
fn resize(config: &str, image: &[u8]) -> DynamicImage {
    let output = apply(config, &[Some(image)]);
    assert!(output.failures.is_empty(), "{:?}", output.failures);
    image::load_from_memory(images(&output)[0].as_ref().unwrap()).unwrap()
}

/// Resizes one picture that must fail, and says why it did.
fn refuse(config: &str, image: &[u8]) -> String {
    let output = apply(config, &[Some(image)]);
    match output.failures.as_slice() {
        [Failure { row: 0, message }] => message.clone(),
        other => panic!("not one failure of row 0: {other:?}"),
    }
}

fn encode(image: &DynamicImage, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    image.write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

/// Red on the left half, blue on the right.
fn red_and_blue(width: u32, height: u32) -> DynamicImage {
    let colour = |x| {
        if x < width / 2 {
            Rgb([255, 0, 0])
        } else {
            Rgb([0, 0, 255])
        }
    };
    image::RgbImage::from_fn(width, height, |x, _| colour(x)).into()
}

/// Puts an EXIF block with an orientation tag into a JPEG, right after its start marker.
fn with_orientation(jpeg: &[u8], orientation: u16) -> Vec<u8> {
    let mut exif = b"Exif\0\0MM\0\x2a\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01".to_vec();
    exif.extend(orientation.to_be_bytes());
    exif.extend([0; 6]);
    let mut out = jpeg[..2].to_vec();
    out.extend([0xff, 0xe1]);
    out.extend((exif.len() as u16 + 2).to_be_bytes());
    out.extend(exif);
    out.extend(&jpeg[2..]);
    out
}

fn is_about(pixel: Rgba<u8>, wanted: [u8; 3]) -> bool {
    pixel
        .0
        .iter()
        .zip(wanted)
        .all(|(is, wants)| is.abs_diff(wants) < 32)
}

#[test]
fn every_fit_has_its_own_size() {
    let rocket = photo("rocket.jpg"); // 640x427
    let size = |fit| {
        resize(
            &format!(r#"{{"width": 100, "height": 100, "fit": "{fit}"}}"#),
            &rocket,
        )
        .dimensions()
    };
    assert_eq!(size("inside"), (100, 67));
    assert_eq!(size("contain"), (100, 100));
    assert_eq!(size("cover"), (100, 100));
    assert_eq!(size("fill"), (100, 100));
}

#[test]
fn every_demo_photo_becomes_a_jpeg_and_tells_its_original_size() {
    let sizes = [
        ("astronaut.png", (512, 512)),
        ("brick.png", (512, 512)),
        ("camera.png", (512, 512)),
        ("chelsea.png", (451, 300)),
        ("coffee.png", (600, 400)),
        ("hubble_deep_field.jpg", (1000, 872)),
        ("page.png", (384, 191)),
        ("retina.jpg", (1411, 1411)),
        ("rocket.jpg", (640, 427)),
    ];
    let photos: Vec<_> = sizes.iter().map(|(name, _)| photo(name)).collect();
    let rows: Vec<_> = photos.iter().map(|photo| Some(photo.as_slice())).collect();
    let output = apply(r#"{"width": 64}"#, &rows);
    assert!(output.failures.is_empty(), "{:?}", output.failures);
    assert_eq!(originals(&output), sizes.map(|(_, size)| size));
    for image in images(&output) {
        let image = image.unwrap();
        assert_eq!(image::guess_format(&image).unwrap(), ImageFormat::Jpeg);
        assert_eq!(image::load_from_memory(&image).unwrap().width(), 64);
    }
}

#[test]
fn the_resized_photo_still_shows_the_same() {
    let cat = photo("chelsea.png");
    let small = resize(r#"{"width": 45, "format": "png"}"#, &cat).into_rgb8();
    // Averages of the original's tenths, which any sound filter comes near to.
    let original = image::load_from_memory(&cat).unwrap().into_rgb8();
    let mut difference = 0.0;
    for (x, y, pixel) in small.enumerate_pixels() {
        let block = image::imageops::crop_imm(&original, x * 10, y * 10, 10, 10).to_image();
        for (channel, is) in pixel.0.iter().enumerate() {
            let sum: u32 = block.pixels().map(|pixel| u32::from(pixel[channel])).sum();
            difference += (f64::from(sum) / 100.0 - f64::from(*is)).abs();
        }
    }
    let mean = difference / f64::from(small.width() * small.height() * 3);
    assert!(mean < 8.0, "the mean difference is {mean}");
}

/// How far apart two pictures of one size are, of 255, at the mean.
fn difference(one: &DynamicImage, other: &DynamicImage) -> f64 {
    let (one, other) = (one.to_rgb8(), other.to_rgb8());
    assert_eq!(one.dimensions(), other.dimensions());
    let pairs = one.iter().zip(other.iter());
    let sum: u64 = pairs.map(|(a, b)| u64::from(a.abs_diff(*b))).sum();
    sum as f64 / one.len() as f64
}

#[test]
fn a_thumbnail_of_a_jpeg_looks_as_if_all_pixels_had_been_decoded() {
    let data = |name: &str| {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data");
        std::fs::read(folder.join(name)).unwrap()
    };
    // What was YCbCr is said to be RGB.
    let mut strange = photo("rocket.jpg");
    let adobe = b"\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00\x00";
    strange.splice(2..2, adobe.iter().copied());
    let jpegs = [
        ("strange.jpg", strange),
        ("rocket.jpg", photo("rocket.jpg")),
        ("retina.jpg", photo("retina.jpg")),
        ("hubble_deep_field.jpg", photo("hubble_deep_field.jpg")),
        ("progressive.jpg", data("progressive.jpg")),
        ("cmyk.jpg", data("cmyk.jpg")),
    ];
    for (name, jpeg) in jpegs {
        // A PNG is always decoded as a whole.
        let png = encode(&image::load_from_memory(&jpeg).unwrap(), ImageFormat::Png);
        // The fewer pixels, the more the edges count.
        for (width, fit) in [(12, "inside"), (41, "cover"), (70, "fill"), (200, "cover")] {
            let config =
                format!(r#"{{"width": {width}, "height": 60, "fit": "{fit}", "format": "png"}}"#);
            let mean = difference(&resize(&config, &jpeg), &resize(&config, &png));
            assert!(mean < 2.2, "{name}, {config}: {mean}");
        }
    }
}

#[test]
fn a_small_picture_is_enlarged_only_when_asked_for() {
    let page = photo("page.png"); // 384x191
    assert_eq!(resize(r#"{"width": 768}"#, &page).dimensions(), (384, 191));
    assert_eq!(
        resize(r#"{"width": 768, "enlarge": true}"#, &page).dimensions(),
        (768, 382)
    );
}

#[test]
fn cover_shows_the_middle() {
    let wide = encode(&red_and_blue(200, 50), ImageFormat::Png);
    let middle = resize(
        r#"{"width": 50, "height": 50, "fit": "cover", "format": "png"}"#,
        &wide,
    );
    assert!(is_about(middle.get_pixel(5, 25), [255, 0, 0]));
    assert!(is_about(middle.get_pixel(44, 25), [0, 0, 255]));
}

#[test]
fn contain_pads_with_the_background() {
    let config = r##"{"width": 60, "height": 60, "fit": "contain", "background": "#00ff00", "format": "png"}"##;
    let padded = resize(config, &encode(&red_and_blue(120, 40), ImageFormat::Png));
    assert_eq!(padded.get_pixel(30, 2), Rgba([0, 255, 0, 255]));
    assert_eq!(padded.get_pixel(30, 57), Rgba([0, 255, 0, 255]));
    assert!(is_about(padded.get_pixel(10, 30), [255, 0, 0]));
}

#[test]
fn a_grey_picture_is_padded_in_colour_too() {
    let config = r##"{"width": 60, "height": 30, "fit": "contain", "background": "#ff0000", "format": "png"}"##;
    let grey = image::GrayImage::from_pixel(30, 30, Luma([40]));
    let padded = resize(config, &encode(&grey.into(), ImageFormat::Png));
    assert_eq!(padded.get_pixel(1, 15), Rgba([255, 0, 0, 255]));
    assert_eq!(padded.get_pixel(30, 15), Rgba([40, 40, 40, 255]));
}

#[test]
fn exif_orientation_turns_the_picture_and_its_size() {
    let jpeg = encode(&red_and_blue(80, 40), ImageFormat::Jpeg);
    // 6: the camera was held on its right side, so what is stored left is shown at the top.
    let turned = with_orientation(&jpeg, 6);
    let output = apply(r#"{"width": 20}"#, &[Some(&turned)]);
    assert_eq!(originals(&output), [(40, 80)]);
    let shown = image::load_from_memory(images(&output)[0].as_ref().unwrap()).unwrap();
    assert_eq!(shown.dimensions(), (20, 40));
    assert!(
        is_about(shown.get_pixel(10, 3), [255, 0, 0]),
        "{:?}",
        shown.get_pixel(10, 3)
    );
    assert!(is_about(shown.get_pixel(10, 36), [0, 0, 255]));
}

#[test]
fn exif_orientation_mirrors_the_picture() {
    let mirrored = with_orientation(&encode(&red_and_blue(80, 40), ImageFormat::Jpeg), 2);
    let shown = resize(r#"{"width": 20}"#, &mirrored);
    assert!(is_about(shown.get_pixel(2, 5), [0, 0, 255]));
}

#[test]
fn a_turned_picture_is_cropped_and_padded_as_it_is_shown() {
    let turned = with_orientation(&encode(&red_and_blue(80, 40), ImageFormat::Jpeg), 6);
    let covered = resize(r#"{"width": 40, "height": 20, "fit": "cover"}"#, &turned);
    assert_eq!(covered.dimensions(), (40, 20));
    assert!(is_about(covered.get_pixel(20, 3), [255, 0, 0]));
    // Scaled to a square on a canvas that is none.
    let square = with_orientation(&encode(&red_and_blue(40, 40), ImageFormat::Jpeg), 6);
    let contained = resize(r#"{"width": 60, "height": 30, "fit": "contain"}"#, &square);
    assert_eq!(contained.dimensions(), (60, 30));
    assert!(is_about(contained.get_pixel(2, 15), [255, 255, 255]));
}

#[test]
fn transparency_shows_the_background_in_a_jpeg_and_stays_in_a_png() {
    let clear = image::RgbaImage::from_pixel(20, 20, Rgba([0, 0, 0, 0]));
    let clear = encode(&clear.into(), ImageFormat::Png);
    let jpeg = resize(r##"{"width": 10, "background": "#0000ff"}"##, &clear);
    assert!(is_about(jpeg.get_pixel(5, 5), [0, 0, 255]));
    let png = resize(r#"{"width": 10, "format": "png"}"#, &clear);
    assert_eq!(png.get_pixel(5, 5)[3], 0);
}

#[test]
fn a_transparent_pixels_colour_does_not_bleed() {
    // White where it is seen, black where it is not: unmultiplied, the edge would turn grey.
    let edge =
        image::RgbaImage::from_fn(
            40,
            40,
            |x, _| {
                if x < 20 { Rgba([255; 4]) } else { Rgba([0; 4]) }
            },
        );
    let small = resize(
        r#"{"width": 7, "format": "png"}"#,
        &encode(&edge.into(), ImageFormat::Png),
    );
    for (x, y, pixel) in small.pixels().filter(|(_, _, pixel)| pixel[3] > 16) {
        assert!(pixel[0] > 245, "{pixel:?} at {x}, {y}");
    }
}

#[test]
fn grey_and_16_bit_pictures_are_resized() {
    let grey = resize(r#"{"width": 64, "format": "png"}"#, &photo("camera.png"));
    assert_eq!(grey.color(), image::ColorType::L8);
    type Deep = image::ImageBuffer<Rgb<u16>, Vec<u16>>;
    let deep = DynamicImage::ImageRgb16(Deep::from_pixel(40, 40, Rgb([65_535, 32_896, 0])));
    let small = resize(
        r#"{"width": 10, "format": "png"}"#,
        &encode(&deep, ImageFormat::Png),
    );
    assert_eq!(small.get_pixel(5, 5), Rgba([255, 128, 0, 255]));
}

#[test]
fn webp_and_gif_are_read() {
    let picture = red_and_blue(80, 40);
    for format in [ImageFormat::WebP, ImageFormat::Gif] {
        let small = resize(r#"{"width": 20}"#, &encode(&picture, format));
        assert_eq!(small.dimensions(), (20, 10), "{format:?}");
        assert!(is_about(small.get_pixel(2, 5), [255, 0, 0]), "{format:?}");
    }
}

#[test]
fn of_an_animation_the_first_frame_is_taken() {
    let mut gif = Vec::new();
    let mut encoder = image::codecs::gif::GifEncoder::new(&mut gif);
    for colour in [Rgba([255, 0, 0, 255]), Rgba([0, 255, 0, 255])] {
        let frame = image::RgbaImage::from_pixel(16, 16, colour);
        encoder.encode_frame(image::Frame::new(frame)).unwrap();
    }
    drop(encoder);
    let shown = resize(r#"{"width": 8, "format": "png"}"#, &gif);
    assert!(is_about(shown.get_pixel(4, 4), [255, 0, 0]));
}

#[test]
fn the_format_is_the_one_asked_for() {
    let picture = encode(&red_and_blue(80, 40), ImageFormat::Png);
    for (name, format) in [
        ("png", ImageFormat::Png),
        ("webp", ImageFormat::WebP),
        ("jpeg", ImageFormat::Jpeg),
    ] {
        let output = apply(
            &format!(r#"{{"width": 20, "format": "{name}"}}"#),
            &[Some(&picture)],
        );
        let image = images(&output).remove(0).unwrap();
        assert_eq!(image::guess_format(&image).unwrap(), format);
        assert!(is_about(
            image::load_from_memory(&image).unwrap().get_pixel(2, 5),
            [255, 0, 0]
        ));
    }
}

#[test]
fn a_lower_quality_is_smaller() {
    let cat = photo("chelsea.png");
    let length = |quality| {
        let output = apply(
            &format!(r#"{{"width": 300, "quality": {quality}}}"#),
            &[Some(&cat)],
        );
        images(&output)[0].as_ref().unwrap().len()
    };
    assert!(length(30) * 2 < length(95));
}

#[test]
fn every_filter_resizes() {
    let rocket = photo("rocket.jpg");
    let mut seen = std::collections::HashSet::new();
    for filter in [
        "nearest",
        "bilinear",
        "hamming",
        "catmull-rom",
        "mitchell",
        "lanczos3",
    ] {
        let config = format!(r#"{{"width": 64, "format": "png", "filter": "{filter}"}}"#);
        let small = resize(&config, &rocket);
        assert!(
            seen.insert(small.into_bytes()),
            "{filter} gives what another one gave"
        );
    }
}

#[test]
fn a_bad_picture_fails_only_its_row() {
    let good = photo("page.png");
    let torn = &photo("coffee.png")[..200_000];
    let output = apply(
        r#"{"width": 32}"#,
        &[Some(&good), Some(torn), None, Some(b"hello"), Some(&good)],
    );
    let failed: Vec<_> = output.failures.iter().map(|failure| failure.row).collect();
    assert_eq!(failed, [1, 3]);
    assert!(
        output.failures[1]
            .message
            .contains("PNG, JPEG, WebP or GIF")
    );
    assert_eq!((output.rows, output.origin.is_none()), (5, true));
    let images = images(&output);
    let present: Vec<_> = images.iter().map(Option::is_some).collect();
    assert_eq!(present, [true, false, false, false, true]);
    assert_eq!(images[0], images[4]);
    assert_eq!(output.columns[1].validity.as_deref(), Some(&[0b10001][..]));
    assert_eq!(output.columns[1].data.len(), 5 * 4);
}

#[test]
fn where_no_row_may_be_null_a_failed_one_is_empty() {
    let schema = [field("image", Kind::Binary, false, 0)];
    let (mut transform, plan) =
        ResizeImage::open(r#"{"width": 8}"#, &schema, &no_assets as &dyn Assets).unwrap();
    assert!(plan.outputs.iter().all(|field| !field.nullable));
    let mut column = BytesBuilder::new(false);
    column.push(Some(b"hello")).unwrap();
    let output = transform
        .apply(&Batch::new(1, vec![column.finish()]))
        .unwrap();
    assert_eq!(output.failures.len(), 1);
    assert_eq!(images(&output), [Some(Vec::new())]);
    assert!(
        output
            .columns
            .iter()
            .all(|column| column.validity.is_none())
    );
}

#[test]
fn a_truncated_file_of_any_format_fails() {
    let picture = image::load_from_memory(&photo("chelsea.png")).unwrap();
    for format in [
        ImageFormat::Jpeg,
        ImageFormat::Png,
        ImageFormat::WebP,
        ImageFormat::Gif,
    ] {
        let whole = encode(&picture, format);
        for part in [whole.len() / 2, whole.len() * 9 / 10, 20, 3] {
            refuse(r#"{"width": 8}"#, &whole[..part]);
        }
    }
}

#[test]
fn a_bomb_is_refused_before_it_is_decoded() {
    // A PNG whose header claims more pixels than its few bytes hold.
    let bomb = |width: u32, height: u32| {
        let mut png = encode(&red_and_blue(2, 2), ImageFormat::Png);
        png[16..20].copy_from_slice(&width.to_be_bytes());
        png[20..24].copy_from_slice(&height.to_be_bytes());
        let checksum = crc32(&png[12..29]);
        png[29..33].copy_from_slice(&checksum.to_be_bytes());
        png
    };
    let refused = |width, height| refuse(r#"{"width": 8}"#, &bomb(width, height));
    assert!(refused(20_000, 10).contains("16384 a side"));
    assert!(refused(16_000, 16_000).contains("max_pixels"));
    let small = refuse(r#"{"width": 8, "max_pixels": 99}"#, &bomb(10, 10));
    assert!(small.contains("10x10") && small.contains("99"), "{small}");
    let generous = r#"{"width": 8, "max_pixels": 1000000000}"#;
    assert!(refuse(generous, &bomb(16_000, 16_000)).contains("MiB"));
}

#[test]
fn a_progressive_jpeg_is_reckoned_by_what_its_coefficients_take() {
    let mut jpeg = encode(&red_and_blue(16, 16), ImageFormat::Jpeg);
    let frame = jpeg
        .windows(2)
        .position(|pair| pair == [0xff, 0xc0])
        .unwrap();
    // 5000 x 5000: 72 MiB as a baseline JPEG, 215 as a progressive one.
    jpeg[frame + 5..frame + 9].copy_from_slice(&[0x13, 0x88, 0x13, 0x88]);
    jpeg[frame + 1] = 0xc2;
    assert!(refuse(r#"{"width": 8}"#, &jpeg).contains("215 MiB"));
}

#[test]
fn enlarging_a_sliver_beyond_all_bounds_is_refused() {
    let sliver = encode(&red_and_blue(2, 400), ImageFormat::Png);
    let message = refuse(r#"{"width": 1000, "enlarge": true}"#, &sliver);
    assert!(message.contains("1000x200000"), "{message}");
}

#[test]
fn a_webp_chunk_that_claims_more_than_the_file_is_refused() {
    let mut webp = encode(&red_and_blue(8, 8), ImageFormat::WebP);
    webp[16..20].copy_from_slice(&u32::MAX.to_le_bytes());
    assert!(refuse(r#"{"width": 4}"#, &webp).contains("truncated"));
}

#[test]
fn a_wrong_configuration_is_refused_with_what_is_wrong() {
    for (config, says) in [
        ("{}", "`width`, `height`"),
        (r#"{"width": 0}"#, "`width` must be from 1"),
        (r#"{"height": 20000}"#, "`height` must be from 1"),
        (r#"{"width": 8, "quality": 0}"#, "`quality`"),
        (r#"{"width": 8, "widht": 9}"#, "`widht`"),
        (r#"{"width": 8, "fit": "stretch"}"#, "`stretch`"),
        (r#"{"width": 8, "background": "red"}"#, "#rrggbb"),
        (r##"{"width": 8, "background": "#+12345"}"##, "#rrggbb"),
        ("{", "refused"),
    ] {
        let message = open(config).map(|_| ()).unwrap_err();
        assert!(message.contains(says), "{config}: {message}");
    }
}

#[test]
fn a_table_without_an_image_column_is_refused_with_its_columns() {
    let schema = [field("photo", Kind::Binary, true, 0)];
    let refused = ResizeImage::open(r#"{"width": 8}"#, &schema, &no_assets as &dyn Assets);
    let message = refused.map(|_| ()).unwrap_err();
    assert!(
        message.contains("`image`") && message.contains("`photo`"),
        "{message}"
    );
}

#[test]
fn the_plan_reads_the_image_and_writes_three_columns() {
    let (_, plan) = open(r#"{"width": 8}"#).unwrap();
    let names = |fields: &[Field]| fields.iter().map(|it| it.name.clone()).collect::<Vec<_>>();
    assert_eq!(names(&plan.inputs), ["image"]);
    assert_eq!(names(&plan.outputs), ["image", "width", "height"]);
    assert!(plan.outputs.iter().all(|field| field.nullable));
}

/// PNG's checksum.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0u32, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            if crc & 1 == 1 {
                crc >> 1 ^ 0xedb8_8320
            } else {
                crc >> 1
            }
        })
    })
}
