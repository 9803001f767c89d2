//! Places on the globe: circles, boxes, and the cells that hold what lies in them.

use headwater_operators::listing::Point;

/// Mean radius of the Earth in metres (IUGG), that of [`Point::distance_m`].
const EARTH_M: f64 = 6_371_008.8;

/// Cells in a degree: each is 0.1° wide and high, at most 11.1 km.
const CELLS_A_DEGREE: i64 = 10;
const E7: i64 = 10_000_000;
/// Steps of 1e-7 degrees in a cell.
const STEP: i64 = E7 / CELLS_A_DEGREE;
/// Cells around the globe.
const AROUND: i64 = 360 * CELLS_A_DEGREE;

/// A cell of the grid that the globe is cut into, by rows from the south.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Cell(u32);

impl Cell {
    /// The cell in which a point lies.
    pub fn of(point: Point) -> Self {
        Self::at(row(point.lat_e7), column(point.lon_e7))
    }

    fn at(row: i64, column: i64) -> Self {
        Self(u32::try_from(row * AROUND + column).unwrap_or(0))
    }
}

fn row(lat_e7: i32) -> i64 {
    (i64::from(lat_e7) + 90 * E7).div_euclid(STEP)
}

/// 180° east is 180° west.
fn column(lon_e7: i32) -> i64 {
    (i64::from(lon_e7) + 180 * E7).div_euclid(STEP).rem_euclid(AROUND)
}

/// A rectangle between two parallels and two meridians, in steps of 1e-7 degrees, its borders included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Bounds {
    /// West; greater than `east` where the rectangle crosses the antimeridian.
    pub west: i32,
    /// South.
    pub south: i32,
    /// East.
    pub east: i32,
    /// North, `south` or more.
    pub north: i32,
}

impl Bounds {
    /// A rectangle in degrees, in the order of RFC 7946 (5); `None` unless all are in range and it is not
    /// upside down.
    pub fn from_degrees(west: f64, south: f64, east: f64, north: f64) -> Option<Self> {
        let longitudes = [west, east].iter().all(|degrees| (-180.0..=180.0).contains(degrees));
        let latitudes = [south, north].iter().all(|degrees| (-90.0..=90.0).contains(degrees));
        (longitudes && latitudes && south <= north).then(|| Self {
            west: e7(west),
            south: e7(south),
            east: e7(east),
            north: e7(north),
        })
    }

    /// Whether a point lies in it.
    pub fn contains(&self, point: Point) -> bool {
        let within = |west: i32, east: i32| (west..=east).contains(&point.lon_e7);
        let between = match self.west <= self.east {
            true => within(self.west, self.east),
            false => within(self.west, i32::MAX) || within(i32::MIN, self.east),
        };
        between && (self.south..=self.north).contains(&point.lat_e7)
    }

    /// The ranges of cells that it touches.
    pub(crate) fn cells(&self) -> impl Iterator<Item = std::ops::RangeInclusive<Cell>> {
        let columns = self.columns();
        (row(self.south)..=row(self.north)).flat_map(move |row| {
            columns.clone().into_iter().map(move |(from, to)| Cell::at(row, from)..=Cell::at(row, to))
        })
    }

    fn columns(&self) -> Vec<(i64, i64)> {
        let (west, east) = (column(self.west), column(self.east));
        // The meridian of 180° lies in the first column, whichever sign it was given.
        match (self.west <= self.east, self.east == e7(180.0)) {
            (true, false) => vec![(west, east)],
            (true, true) => vec![(west, AROUND - 1), (0, 0)],
            (false, _) => vec![(west, AROUND - 1), (0, east)],
        }
    }
}

fn e7(degrees: f64) -> i32 {
    (degrees * 1e7).round() as i32
}

/// A circle on the globe, its border included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Circle {
    /// Its middle.
    pub middle: Point,
    /// Its radius in metres.
    pub radius_m: u32,
}

impl Circle {
    /// Whether a point lies in it.
    pub fn contains(&self, point: Point) -> bool {
        self.middle.distance_m(&point) <= f64::from(self.radius_m)
    }

    /// The rectangle around it. The meridians that touch it are asin(sin r / cos φ) away, where r is the
    /// radius as an angle (Bronshtein et al., Handbook of Mathematics, 3.4: the right-angled spherical
    /// triangle of pole, middle and point of contact).
    pub(crate) fn bounds(&self) -> Bounds {
        // A little more, for what is lost in rounding.
        let angle = (f64::from(self.radius_m) / EARTH_M) * 1.000_001 + 1e-8;
        let latitude = self.middle.latitude().to_radians();
        let (south, north) = (latitude - angle, latitude + angle);
        let pole = std::f64::consts::FRAC_PI_2;
        let whole = Bounds { west: e7(-180.0), south: e7(-90.0), east: e7(180.0), north: e7(90.0) };
        if south <= -pole && north >= pole {
            return whole;
        }
        let clamp = |radians: f64| e7(radians.clamp(-pole, pole).to_degrees());
        let (south_e7, north_e7) = (clamp(south), clamp(north));
        if south <= -pole || north >= pole {
            return Bounds { south: south_e7, north: north_e7, ..whole };
        }
        let aside = (angle.sin() / latitude.cos()).min(1.0).asin().to_degrees();
        let around = |degrees: f64| (degrees + 180.0).rem_euclid(360.0) - 180.0;
        let longitude = self.middle.longitude();
        Bounds {
            west: e7(around(longitude - aside)),
            south: south_e7,
            east: e7(around(longitude + aside)),
            north: north_e7,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_point() -> impl Strategy<Value = Point> {
        let odd = prop::sample::select(vec![-180.0, 180.0, 179.99, -179.99, 0.1]);
        let latitude = prop_oneof![-90.0..90.0, prop::sample::select(vec![-90.0, 90.0, 89.9])];
        (latitude, prop_oneof![-180.0..180.0, odd])
            .prop_filter_map("no point", |(latitude, longitude)| Point::from_degrees(latitude, longitude))
    }

    fn has_cell(bounds: &Bounds, point: Point) -> bool {
        bounds.cells().any(|cells| cells.contains(&Cell::of(point)))
    }

    proptest! {
        #[test]
        fn the_cells_of_a_circle_hold_all_its_points(middle in any_point(), point in any_point(), km in 0u32..20_100) {
            let circle = Circle { middle, radius_m: km * 1000 };
            if circle.contains(point) {
                prop_assert!(has_cell(&circle.bounds(), point), "{:?}", circle.bounds());
            }
        }

        #[test]
        fn near_points_too(middle in any_point(), north in -0.2..0.2f64, east in -0.2..0.2f64) {
            let near = Point::from_degrees(middle.latitude() + north, middle.longitude() + east);
            prop_assume!(near.is_some());
            let near = near.unwrap();
            let radius_m = middle.distance_m(&near).ceil() as u32;
            let circle = Circle { middle, radius_m };
            prop_assert!(circle.contains(near) && has_cell(&circle.bounds(), near));
        }

        #[test]
        fn the_cells_of_a_box_hold_all_its_points(a in any_point(), b in any_point(), point in any_point()) {
            let (south, north) = (a.lat_e7.min(b.lat_e7), a.lat_e7.max(b.lat_e7));
            let bounds = Bounds { west: a.lon_e7, south, east: b.lon_e7, north };
            if bounds.contains(point) {
                prop_assert!(has_cell(&bounds, point));
            }
        }
    }

    #[test]
    fn a_box_may_cross_the_antimeridian() {
        let fiji = Bounds::from_degrees(177.0, -20.0, -178.0, -12.0).unwrap();
        let suva = Point::from_degrees(-18.1, 178.4).unwrap();
        assert!(fiji.contains(suva) && !fiji.contains(Point::from_degrees(-18.1, 0.5).unwrap()));
        assert_eq!(Bounds::from_degrees(0.0, 2.0, 1.0, 1.0), None, "upside down");
        assert_eq!(Bounds::from_degrees(0.0, f64::NAN, 1.0, 1.0), None);
    }
}
